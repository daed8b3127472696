//! One request as its client saw it: the raw material of every figure. Small and flat, since a drill keeps them all.

/// Microseconds since the drill's load began.
pub type Micros = u64;

/// Seconds of a span of microseconds; negative when `to` is before `from`.
#[must_use]
pub fn seconds(from: Micros, to: Micros) -> f64 {
    // Exact for every time that a drill can last.
    #[allow(clippy::cast_precision_loss)]
    let span = |a: Micros, b: Micros| (b - a) as f64 / 1e6;
    if to >= from { span(from, to) } else { -span(to, from) }
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A new item, on the condition that it is not there yet.
    Put,
    /// Its number appended to a list, which would show it if it took effect twice.
    Append,
    /// 1 added to a counter.
    Add,
    /// A consistent read of a counter.
    ConsistentRead,
    /// An eventually consistent read of a counter.
    EventualRead,
    /// An eventually consistent read of a counter with the token of a write to it.
    TokenRead,
}

impl Kind {
    /// Whether it changes something.
    #[must_use]
    pub fn is_write(self) -> bool {
        matches!(self, Self::Put | Self::Append | Self::Add)
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Acknowledged or answered.
    Done,
    /// Refused, certainly without effect.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// A write that can be found again: a put or an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteId {
    /// [`Kind::Put`] or [`Kind::Append`].
    pub kind: Kind,
    /// The region it was sent to, as an index.
    pub path: u8,
    /// The lane of that region and kind.
    pub lane: u16,
    /// The number within the lane.
    pub sequence: u32,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The region it was sent to, as an index.
    pub path: u8,
    /// Which key: a lane of `path` for a put or an append; the index of the counter over all regions for an add or a read.
    pub lane: u16,
    /// What was asked.
    pub kind: Kind,
    /// How it ended.
    pub end: End,
    /// When it was sent.
    pub invoked: Micros,
    /// When the client knew, or gave up.
    pub returned: Micros,
    /// The write's number within its lane. A lane never uses a number twice.
    pub sequence: u32,
    /// The counter's value in the answer of an add or a read.
    pub value: u64,
    /// The lowest value that a read may show: the highest that anybody had been told of before this was sent.
    pub floor: u64,
}

impl Sample {
    /// The identity of a put or an append.
    #[must_use]
    pub fn id(&self) -> Option<WriteId> {
        let Self { kind, path, lane, sequence, .. } = *self;
        matches!(kind, Kind::Put | Kind::Append).then_some(WriteId { kind, path, lane, sequence })
    }
}
