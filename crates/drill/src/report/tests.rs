//! The report of one hand-made drill, compared as a whole with what was agreed.

use super::*;
use crate::measure::{Affected, measure};
use crate::sample::{End, Kind, WriteId};
use crate::scenario::FaultKind;

const MARKS: Marks = Marks { fault: 2_000_000, undone: 6_000_000, end: 8_000_000, detected: Some(2_350_000) };

/// A put each 200 ms through both regions; the first is dead between the marks, the second until 0.9 s after the fault.
fn samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    for number in 0..40u32 {
        let invoked = u64::from(number) * 200_000;
        for path in 0..2 {
            let until = if path == 0 { MARKS.undone } else { MARKS.fault + 900_000 };
            let end = if (MARKS.fault..until).contains(&invoked) { End::Refused } else { End::Done };
            samples.push(Sample {
                path,
                lane: 0,
                kind: Kind::Put,
                end,
                invoked,
                returned: invoked + 3_000,
                sequence: number,
                value: 0,
                floor: 0,
            });
        }
    }
    samples
}

fn put(sequence: u32) -> WriteId {
    WriteId { kind: Kind::Put, path: 1, lane: 0, sequence }
}

fn report(change: impl Fn(&mut Subject, &mut Verification)) -> DrillReport {
    let mut subject = Subject {
        scenario: Scenario::built_in("region-kill").unwrap(),
        target: Target {
            region: RegionName::new("us-east-1").unwrap(),
            path: 0,
            nodes: vec![NodeName::new("us-east-1-a-0").unwrap()],
            whole: true,
            led_groups: 4,
        },
        objectives: Objectives { rpo_s: Some(0.0), ..Objectives::default() },
        table: TableName::new("payments").unwrap(),
        policy: PolicyName::new("active-passive-semi-sync").unwrap(),
        regions: ["us-east-1", "eu-west-1"].map(|name| RegionName::new(name).unwrap()).to_vec(),
        started_unix_s: 1_700_000_000,
        settled: true,
        moved: true,
        final_refusals: 0,
        leftover: None,
        service: None,
    };
    let mut verification = Verification::default();
    change(&mut subject, &mut verification);
    let samples = samples();
    let measured = measure(&samples, 2, Affected { path: 0, serves: false }, &MARKS, &verification);
    let timeline = vec![Event { at_s: 0.0, event: "fault injected".to_owned() }];
    DrillReport::new(&subject, &measured, &verification, timeline, &samples, &MARKS)
}

#[test]
fn the_json_has_the_fields_of_the_reference_in_their_order() {
    let report = report(|_, _| {});
    let json = report.to_json();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["drill"], "region-kill");
    assert_eq!(value["objectives"], serde_json::json!({"rto_s": 5.0, "rpo_s": 0.0}));
    let measured = &value["measured"];
    assert_eq!(measured["detect_s"], 0.35);
    assert_eq!(measured["rto_s"], 1.003);
    assert_eq!(measured["rpo_s"], 0.0);
    assert_eq!(measured["requests"], 80);
    assert_eq!(measured["errors"], 25);
    assert_eq!(measured["acknowledged_writes"], 55);
    assert_eq!(measured["rto_by_path"], serde_json::json!({"api": 1.003, "edge": null, "dns": null}));
    assert_eq!(value["verdict"], "pass");
    assert_eq!(value["timeline"][0], serde_json::json!({"at_s": 0.0, "event": "fault injected"}));
    let fields = ["drill", "region", "table", "policy", "objectives", "measured", "verdict", "timeline"];
    let places: Vec<_> =
        fields.iter().map(|field| json.find(&format!("\n  \"{field}\":")).unwrap()).collect();
    assert!(places.is_sorted(), "{json}");
    for field in ["lost_writes", "duplicate_effects", "stale_reads"] {
        assert_eq!(measured[field], 0, "{field}");
    }
}

#[test]
fn each_reason_to_fail_is_said() {
    let missed = |change: &dyn Fn(&mut Subject, &mut Verification)| {
        let report = report(change);
        assert_eq!(report.verdict, Verdict::Fail);
        report.missed.join("\n")
    };
    let slow = missed(&|subject, _| subject.objectives.rto_s = Some(0.5));
    assert_eq!(slow, "RTO: writes succeeded again after 1.003 s; the objective is 0.5 s");
    let lost = missed(&|_, verification| {
        verification.lost.insert(put(9));
    });
    let examples = report(|_, verification| {
        verification.lost.insert(put(9));
        verification.repeated.insert(put(11), 2);
    })
    .examples;
    let expected = [
        "put 9 of lane 0 through eu-west-1, sent at -0.200 s and acknowledged at -0.197 s, is gone",
        "put 11 of lane 0 through eu-west-1, sent at 0.200 s and refused at 0.203 s, took effect 3 times",
    ];
    assert_eq!(examples, expected);
    assert_eq!(lost, "RPO: 1 acknowledged writes were lost, the oldest 0.197 s old; the objective is 0 s");
    assert!(missed(&|_, verification| verification.unread.push("lane 1".to_owned())).contains("lane 1"));
    let pause = missed(&|subject, _| subject.objectives.pause_s = Some(0.5));
    assert_eq!(pause, "pause: a lane was 1.003 s without a write; the objective is 0.5 s");
    assert!(
        missed(&|subject, _| subject.objectives.read_rto_s = Some(0.5)).contains("reads did not succeed")
    );
    assert!(missed(&|subject, _| subject.moved = false).contains("had not moved to us-east-1"));
    let refused = |fault| {
        move |subject: &mut Subject, _: &mut Verification| {
            (subject.scenario.fault, subject.final_refusals) = (fault, 2);
        }
    };
    assert!(missed(&refused(FaultKind::Partition)).contains("2 requests were refused without being told"));
    assert_eq!(report(refused(FaultKind::Kill)).missed, Vec::<String>::new());
    assert!(missed(&|subject, _| subject.settled = false).contains("served again"));
    assert!(missed(&|subject, _| subject.leftover = Some("table t".to_owned())).contains("table t"));
    assert!(
        missed(&|_, verification| {
            verification.refused_but_present.insert(put(10));
        })
        .contains("refused")
    );
}

#[test]
fn no_objective_cannot_be_missed() {
    let report = report(|subject, verification| {
        subject.objectives = Objectives { rto_s: None, ..Objectives::default() };
        verification.lost.insert(put(9));
    });
    assert_eq!((report.verdict, report.measured.lost_writes), (Verdict::Pass, 1));
}

#[test]
fn the_markdown_says_how_each_figure_was_taken() {
    let text = report(|_, _| {}).to_markdown();
    assert!(text.starts_with("# Drill region-kill: pass\n"), "{text}");
    assert!(text.contains("| RTO | 1.003 s | at most 5 s | from the moment before the fault"), "{text}");
    assert!(text.contains("![success and errors over time](timeline.svg)"), "{text}");
    assert!(text.contains("| us-east-1 | - | 40 | 20 | 0 | 3.0 / 3.0 ms |"), "{text}");
    // Every table row has as many cells as its head.
    let bars = |line: &str| line.matches('|').count();
    let lines: Vec<&str> = text.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair.iter().all(|line| line.starts_with('|'))) {
        assert_eq!(bars(pair[0]), bars(pair[1]), "{pair:?}");
    }
}

#[test]
fn the_picture_is_well_formed_and_carries_the_marks() {
    let svg = report(|_, _| {}).picture;
    for mark in
        ["fault 0.00 s", "noticed 0.35 s", "recovered 1.00 s", "undone 4.00 s", "us-east-1", "eu-west-1"]
    {
        assert!(svg.contains(mark), "{mark}");
    }
    let opened = svg.matches("<text").count() + svg.matches("<svg").count();
    assert_eq!(opened, svg.matches("</text>").count() + svg.matches("</svg>").count());
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("a/b");
    report(|_, _| {}).write_to(&place).unwrap();
    assert_eq!(std::fs::read_to_string(place.join("timeline.svg")).unwrap(), svg);
    assert!(place.join("report.json").exists() && place.join("report.md").exists());
}
