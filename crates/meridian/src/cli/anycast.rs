//! `meridian service anycast`: what one node announces by BGP.

use super::connect::connect;
use super::output::{self, Format, Grid, Tone, joined};
use super::{Global, Outcome};
use crate::admin::anycast::AnycastStatus;

pub(super) async fn run(global: &Global) -> Outcome {
    let status = connect(global).await?.anycast().await?;
    if global.output == Format::Json {
        return output::json(&status);
    }
    if status.addresses.is_empty() {
        let node = &status.node;
        output::emit(&format!("node {node} announces nothing; its configuration has no [anycast] section\n"));
        return Ok(());
    }
    addresses(&status).emit();
    output::emit("\n");
    peers(&status).emit();
    Ok(())
}

fn addresses(status: &AnycastStatus) -> Grid {
    let mut grid = Grid::new(&["ADDRESS", "SERVICES", "ANNOUNCED", "WHY NOT"]);
    for address in &status.addresses {
        let (announced, tone) = if address.announced { ("yes", Tone::Good) } else { ("no", Tone::Bad) };
        grid.toned(vec![
            (address.network.to_string(), Tone::Plain),
            (
                if address.services.is_empty() { "all".to_owned() } else { joined(&address.services) },
                Tone::Plain,
            ),
            (announced.to_owned(), tone),
            (if address.announced { "-".to_owned() } else { address.because.join("; ") }, Tone::Plain),
        ]);
    }
    grid
}

fn peers(status: &AnycastStatus) -> Grid {
    let mut grid = Grid::new(&["SPEAKER", "SESSION", "HAS", "WHY NOT"]);
    for peer in &status.peers {
        let (session, tone) =
            if peer.established { ("established", Tone::Good) } else { ("none", Tone::Bad) };
        let has: Vec<String> = peer.announced.iter().map(ToString::to_string).collect();
        grid.toned(vec![
            (peer.peer.to_string(), Tone::Plain),
            (session.to_owned(), tone),
            (if has.is_empty() { "-".to_owned() } else { joined(&has) }, Tone::Plain),
            (peer.error.clone().unwrap_or_else(|| "-".to_owned()), Tone::Plain),
        ]);
    }
    grid
}
