//! The built-in drills, as a live cluster has them, in the simulator.

use meridian_drill::Scenario;
use meridian_sim::{Settings, run_many};

/// Seeds a drill: each hits another region, or another part of one.
const SEEDS: u64 = 4;

#[test]
fn every_built_in_drill_holds_in_the_simulator() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for (name, active) in Scenario::names().flat_map(|name| [(name, false), (name, true)]) {
        let drill = Scenario::built_in(name).expect("a built-in drill");
        let settings = Settings { drill: Some(drill), active, ..Settings::default() };
        // With items that every region writes, one that once found something.
        let seeds = if active { 2..3 } else { 0..SEEDS };
        let summary = run_many(seeds, threads, &settings, |report| {
            for wrong in &report.wrong {
                println!("{name}, active {active}, seed {}: {wrong}", report.seed);
            }
        });
        println!("{name}: {summary}");
        assert!(summary.failures.is_empty(), "meridian-sim --scenario crates/drill/scenarios/{name}.toml");
        assert!(summary.ends.get("done").is_some_and(|done| *done > 100), "clients did little: {summary}");
    }
}
