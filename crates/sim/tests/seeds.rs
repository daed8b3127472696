//! Seeds are repeatable, and nothing goes wrong in any of them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use meridian_sim::{Settings, Summary, marks, run, run_many};

/// Seeds of a plain test run; continuous integration asks for more.
const SEEDS: u64 = 50;
/// From so many seeds on, every rare path must have been taken.
const COVERING: u64 = 200;
/// As [`COVERING`], of runs with tables, of which there are half as many.
const COVERING_TABLES: u64 = 100;
/// Seeds with items that every region writes.
const ACTIVE: u64 = 30;
/// Beyond those, in order: the run waited for a node that had left; a sole voter whose offer of leadership nobody took never led again; the
/// only one to have a change of members was no voter by it, and nobody could be elected; a node that was asked to leave while its
/// group was founded anew could not compare what it had, and never left.
const FOUND: [u64; 4] = [331, 2395, 3445, 4211];
/// With tables: a hand-over that was late ended up in the leadership after its own, which then took no write.
const FOUND_WITH_TABLES: [u64; 1] = [134];

#[test]
fn a_seed_is_a_run_byte_for_byte() {
    for seed in [3, 17] {
        let (first, again) = (run(seed, &Settings::default()), run(seed, &Settings::default()));
        assert_eq!(first, again, "seed {seed}");
    }
    let tables = Settings { tables: true, ..Settings::default() };
    assert_eq!(run(5, &tables), run(5, &tables), "seed 5 with tables");
    assert_ne!(run(3, &Settings::default()).digest, run(4, &Settings::default()).digest);
}

#[test]
fn seeds_that_found_something_stay_right() {
    for seed in FOUND {
        assert_eq!(run(seed, &Settings::default()).wrong, Vec::<String>::new(), "seed {seed}");
    }
    for seed in FOUND_WITH_TABLES {
        let settings = Settings { tables: true, ..Settings::default() };
        assert_eq!(run(seed, &settings).wrong, Vec::<String>::new(), "seed {seed} with tables");
    }
}

fn seeds() -> u64 {
    std::env::var("MERIDIAN_SIM_SEEDS").map_or(SEEDS, |text| text.parse().unwrap())
}

/// Runs the first so many seeds, none of which finds anything wrong. `flags` are those of `meridian-sim` for the same.
fn all_are_right(seeds: u64, settings: &Settings, flags: &str) -> Summary {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let summary = run_many(0..seeds, threads, settings, |report| {
        for wrong in &report.wrong {
            println!("seed {}: {wrong}", report.seed);
        }
    });
    println!("{summary}");
    let failed: Vec<u64> = summary.failures.iter().map(|report| report.seed).collect();
    assert!(
        failed.is_empty(),
        "run one of them again with: meridian-sim{flags} --seed N --trace; failed: {failed:?}"
    );
    summary
}

#[test]
fn nothing_goes_wrong_in_many_seeds() {
    let seeds = seeds();
    let summary = all_are_right(seeds, &Settings::default(), "");
    if seeds >= COVERING {
        assert_eq!(marks::missed(&summary.marks, false), Vec::<&str>::new(), "rare paths that no seed took");
    }
}

#[test]
fn items_that_every_region_writes_converge_and_lose_nothing() {
    all_are_right(ACTIVE, &Settings { active: true, ..Settings::default() }, " --active");
}

#[test]
fn tables_change_their_policies_and_regions_are_expelled_without_a_loss() {
    let seeds = seeds() / 2;
    let summary = all_are_right(seeds, &Settings { tables: true, ..Settings::default() }, " --tables");
    if seeds >= COVERING_TABLES {
        assert_eq!(marks::missed(&summary.marks, true), Vec::<&str>::new(), "rare paths that no seed took");
    }
}
