//! A few of the requests behind a bad figure, each as a sentence, so that somebody can look for them in the logs.

use crate::measure::{Marks, Measured};
use crate::sample::{End, Kind, Sample, WriteId, seconds};
use crate::verify::Verification;
use meridian_types::RegionName;
use std::collections::BTreeMap;

/// The most sentences for each kind of finding.
const EACH: usize = 5;

pub(super) fn examples(
    regions: &[RegionName],
    samples: &[Sample],
    measured: &Measured,
    verification: &Verification,
    marks: &Marks,
) -> Vec<String> {
    let by_id: BTreeMap<WriteId, &Sample> = samples.iter().filter_map(|one| Some((one.id()?, one))).collect();
    let say = |one: &Sample, what: &str| format!("{} {what}", describe(regions, one, marks));
    let mut found = Vec::new();
    let mut say_of = |ids: &mut dyn Iterator<Item = (&WriteId, String)>| {
        let known = ids.filter_map(|(id, what)| Some(say(by_id.get(id)?, &what)));
        found.extend(known.take(EACH));
    };
    say_of(&mut verification.lost.iter().map(|id| (id, "is gone".to_owned())));
    say_of(
        &mut verification.repeated.iter().map(|(id, more)| (id, format!("took effect {} times", more + 1))),
    );
    say_of(&mut verification.refused_but_present.iter().map(|id| (id, "is there all the same".to_owned())));
    say_of(&mut verification.disagreeing.iter().map(|id| (id, "is shown by some regions only".to_owned())));
    let stale = measured.stale_samples.iter().filter_map(|index| samples.get(*index)).take(EACH);
    found.extend(stale.map(|one| say(one, &format!("showed {} where {} was known", one.value, one.floor))));
    found
}

fn describe(regions: &[RegionName], one: &Sample, marks: &Marks) -> String {
    let region = regions.get(usize::from(one.path)).map_or("an unknown region", RegionName::as_str);
    let what = match one.kind {
        Kind::Put => format!("put {} of lane {}", one.sequence, one.lane),
        Kind::Append => format!("append {} of lane {}", one.sequence, one.lane),
        Kind::Add => format!("add to counter {}", one.lane),
        Kind::ConsistentRead => format!("consistent read of counter {}", one.lane),
        Kind::EventualRead => format!("eventual read of counter {}", one.lane),
        Kind::TokenRead => format!("read with a token of counter {}", one.lane),
    };
    let end = match (one.end, one.kind.is_write()) {
        (End::Done, true) => "acknowledged",
        (End::Done, false) => "answered",
        (End::Refused, _) => "refused",
        (End::Unknown, _) => "given up",
    };
    format!(
        "{what} through {region}, sent at {:.3} s and {end} at {:.3} s,",
        seconds(marks.fault, one.invoked),
        seconds(marks.fault, one.returned)
    )
}
