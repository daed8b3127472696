//! The session's states.

use crate::MIN_HOLD_TIME_S;
use crate::message::{self, Codes, Heard};
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use zettabgp::prelude::BgpSessionParams;

/// How long the other side may take to open the session, in milliseconds.
const OPENING_MS: u64 = 10_000;

/// Where announced traffic is to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextHops {
    /// For IPv4 networks; without one none is announced.
    pub v4: Option<Ipv4Addr>,
    /// For IPv6 networks; without one none is announced.
    pub v6: Option<Ipv6Addr>,
}

/// What one side of the session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// Its autonomous system.
    pub asn: u32,
    /// The other side's; the same one means an internal session.
    pub peer_asn: u32,
    /// The identifier that it goes by.
    pub router_id: Ipv4Addr,
    /// For how long the other side keeps what was announced without hearing from it, in seconds; [`MIN_HOLD_TIME_S`] or more.
    pub hold_time_s: u16,
    /// Where traffic goes.
    pub next_hops: NextHops,
    /// The preference of its routes within the system; internal sessions only.
    pub local_pref: u32,
    /// Communities (RFC 1997) of its routes.
    pub communities: Vec<u32>,
}

/// How far the session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The other side has not introduced itself.
    OpenSent,
    /// It has, and has not agreed yet.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}

/// Why a session ended. What there was left to send, [`Session::output`] still has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The other side ended it.
    #[error("the BGP speaker ended the session: {0}")]
    Notified(String),
    /// The other side is not what was configured, or broke the protocol.
    #[error("{0}")]
    Refused(String),
    /// The other side was silent for too long.
    #[error("the BGP speaker was silent for {0} ms")]
    Silent(u64),
}

/// One session, from the moment at which the connection stands.
#[derive(Debug)]
pub struct Session {
    speaker: Speaker,
    params: BgpSessionParams,
    state: State,
    /// How long the other side may be silent.
    hold_ms: u64,
    heard_ms: u64,
    sent_ms: u64,
    peer_knows_v6: bool,
    wanted: BTreeSet<IpNet>,
    announced: BTreeSet<IpNet>,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
}

impl Session {
    /// Introduces this side.
    #[must_use]
    pub fn new(speaker: Speaker, now_ms: u64) -> Self {
        let params = message::params(&speaker);
        let outbox = message::open(&params);
        Self {
            speaker,
            params,
            state: State::OpenSent,
            hold_ms: OPENING_MS,
            heard_ms: now_ms,
            sent_ms: now_ms,
            peer_knows_v6: false,
            wanted: BTreeSet::new(),
            announced: BTreeSet::new(),
            inbox: Vec::new(),
            outbox,
        }
    }

    /// How far it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// What the other side has been told to have.
    #[must_use]
    pub fn announced(&self) -> &BTreeSet<IpNet> {
        &self.announced
    }

    /// What is to be sent now, in order; it is handed out once.
    pub fn output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outbox)
    }

    /// Takes bytes from the other side.
    ///
    /// # Errors
    /// [`Ended`]: the connection is to be closed, once [`Self::output`] is sent.
    pub fn receive(&mut self, bytes: &[u8], now_ms: u64) -> Result<(), Ended> {
        self.inbox.extend_from_slice(bytes);
        loop {
            match message::take(&self.params, &mut self.inbox) {
                Ok(None) => return Ok(()),
                Ok(Some(heard)) => {
                    self.heard_ms = now_ms;
                    self.hear(heard, now_ms)?;
                }
                Err(unreadable) => return Err(self.refuse(unreadable.codes, unreadable.why)),
            }
        }
    }

    /// Makes `wanted` all that the other side has of this one, at once when the session is established, else as soon as it is. Networks of a
    /// family that has no next hop, or that the other side does not speak, are left out.
    pub fn announce(&mut self, wanted: &BTreeSet<IpNet>, now_ms: u64) {
        self.wanted.clone_from(wanted);
        self.settle(now_ms);
    }

    /// Looks at the clock; to be called at least at [`Self::next_tick_ms`].
    ///
    /// # Errors
    /// [`Ended`]: the connection is to be closed, once [`Self::output`] is sent.
    pub fn tick(&mut self, now_ms: u64) -> Result<(), Ended> {
        let silent = now_ms.saturating_sub(self.heard_ms);
        if silent >= self.hold_ms {
            self.outbox.extend(message::notification(message::HOLD_TIMER));
            return Err(Ended::Silent(silent));
        }
        if self.state != State::OpenSent && now_ms.saturating_sub(self.sent_ms) >= self.keepalive_ms() {
            self.send(message::keepalive(&self.params), now_ms);
        }
        Ok(())
    }

    /// When [`Self::tick`] has something to do.
    #[must_use]
    pub fn next_tick_ms(&self) -> u64 {
        let ends = self.heard_ms.saturating_add(self.hold_ms);
        match self.state {
            State::OpenSent => ends,
            _ => ends.min(self.sent_ms.saturating_add(self.keepalive_ms())),
        }
    }

    /// Takes everything back and says goodbye; the connection is to be closed once [`Self::output`] is sent.
    pub fn close(&mut self, now_ms: u64) {
        self.announce(&BTreeSet::new(), now_ms);
        self.send(message::notification(message::SHUT_DOWN), now_ms);
    }

    fn keepalive_ms(&self) -> u64 {
        // A third, as RFC 4271 recommends.
        self.hold_ms / 3
    }

    fn send(&mut self, message: Vec<u8>, now_ms: u64) {
        self.outbox.extend(message);
        self.sent_ms = now_ms;
    }

    fn refuse(&mut self, codes: Codes, why: String) -> Ended {
        self.outbox.extend(message::notification(codes));
        Ended::Refused(why)
    }

    fn hear(&mut self, heard: Heard, now_ms: u64) -> Result<(), Ended> {
        match (self.state, heard) {
            (_, Heard::Notification(why)) => return Err(Ended::Notified(why)),
            (State::OpenSent, Heard::Open { asn, hold_time_s, wide_as, ipv6 }) => {
                if asn != self.speaker.peer_asn {
                    let expected = self.speaker.peer_asn;
                    let why = format!("the BGP speaker is of AS {asn}, and anycast.peer_as is {expected}");
                    return Err(self.refuse(message::BAD_PEER_AS, why));
                }
                // Zero would mean for ever: a frozen node would go on attracting traffic.
                if hold_time_s < MIN_HOLD_TIME_S {
                    let why = format!(
                        "the BGP speaker offers a hold time of {hold_time_s} s; configure one of {MIN_HOLD_TIME_S} s or more there"
                    );
                    return Err(self.refuse(message::BAD_HOLD_TIME, why));
                }
                self.hold_ms = 1_000 * u64::from(hold_time_s.min(self.speaker.hold_time_s));
                self.params.has_as32bit = wide_as;
                self.peer_knows_v6 = ipv6;
                self.state = State::OpenConfirm;
                self.send(message::keepalive(&self.params), now_ms);
            }
            (State::OpenConfirm, Heard::Keepalive) => {
                self.state = State::Established;
                self.settle(now_ms);
            }
            (State::Established, Heard::Keepalive | Heard::Other) => {}
            (state, heard) => {
                let why = format!("the BGP speaker sent {heard:?} in state {state:?}");
                return Err(self.refuse(message::UNEXPECTED, why));
            }
        }
        Ok(())
    }

    fn settle(&mut self, now_ms: u64) {
        if self.state != State::Established {
            return;
        }
        for gone in self.announced.difference(&self.wanted).copied().collect::<Vec<_>>() {
            self.send(message::withdraw(&self.params, gone), now_ms);
            self.announced.remove(&gone);
        }
        for new in self.wanted.difference(&self.announced).copied().collect::<Vec<_>>() {
            let spoken = matches!(new, IpNet::V4(_)) || self.peer_knows_v6;
            if let Some(update) = message::announce(&self.params, &self.speaker, new).filter(|_| spoken) {
                self.send(update, now_ms);
                self.announced.insert(new);
            }
        }
    }
}

#[cfg(test)]
mod tests;
