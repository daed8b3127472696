//! A drill many times in a row.

use super::{DrillOptions, run};
use crate::cluster::ClusterFile;
use crate::error::DrillError;
use crate::progress::Progress;
use crate::report::RepeatedReport;
use meridian_types::RegionName;

/// Carries out a drill `rounds` times, each time in the next region unless the options name one. The report of each round is written into a
/// folder of its own beside that of all.
///
/// # Errors
/// That of the first round. A later one ends the rounds: the report says so and its verdict is `fail`.
pub async fn repeat(
    options: DrillOptions,
    rounds: u32,
    progress: impl Progress + Clone,
) -> Result<RepeatedReport, DrillError> {
    let regions = regions(&options)?;
    let (mut reports, mut stopped) = (Vec::new(), None);
    for (round, region) in (1..=rounds).zip(regions.iter().cycle()) {
        progress.event(0.0, &format!("round {round} of {rounds}: {} of {region}", options.scenario.name));
        let report = options.report.as_ref().map(|folder| folder.join(format!("round-{round:02}")));
        let one = DrillOptions { region: Some(region.clone()), report, ..options.clone() };
        match Box::pin(run(one, progress.clone())).await {
            Ok(report) => reports.push(report),
            Err(error) if reports.is_empty() => return Err(error),
            Err(error) => {
                stopped = Some(format!("round {round}: {error}"));
                break;
            }
        }
    }
    let none =
        || DrillError::Scenario("it is to be carried out 0 times; give --repeat at least 1".to_owned());
    let report = RepeatedReport::new(rounds, &reports, stopped).ok_or_else(none)?;
    if let Some(folder) = &options.report {
        report.write_to(folder)?;
    }
    Ok(report)
}

/// The regions to hit, in turn.
fn regions(options: &DrillOptions) -> Result<Vec<RegionName>, DrillError> {
    if let Some(region) = options.region.clone().or_else(|| options.scenario.region.clone()) {
        return Ok(vec![region]);
    }
    let cluster = ClusterFile::read(&options.cluster)?;
    Ok(cluster.regions.iter().map(|region| region.name.clone()).collect())
}
