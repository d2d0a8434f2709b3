//! The page is read as its reader's browser would: as a tree.

use super::*;
use crate::reports::sample;
use crate::reports::tables::KINDS;

/// The page without its first line, which is not XML.
fn tree(page: &str) -> roxmltree::Document<'_> {
    let (first, rest) = page.split_once('\n').unwrap();
    assert_eq!(first, "<!doctype html>");
    roxmltree::Document::parse(rest).unwrap()
}

/// The text of the cells of the row of an allocator, in the tables of a workload.
fn cells(tree: &roxmltree::Document, workload: &str, allocator: &str) -> Vec<String> {
    let details = tree.descendants().filter(|node| node.has_tag_name("details"));
    let text = |node: roxmltree::Node| node.text().unwrap_or("").to_string();
    let of = |node: &roxmltree::Node| {
        let summary = node.children().find(|child| child.has_tag_name("summary")).unwrap();
        summary.text().unwrap().trim() == workload
    };
    let details = details.filter(of).collect::<Vec<_>>();
    assert_eq!(details.len(), 1, "{workload}");
    let rows = details[0]
        .descendants()
        .filter(|node| node.has_tag_name("tr") && node.attribute("data-a") == Some(allocator));
    rows.flat_map(|row| row.children().filter(|cell| cell.has_tag_name("td")).map(text)).collect()
}

#[test]
fn pages_are_well_formed() {
    let mut run = sample::run();
    run.sweeps.push(run.sweeps[0].clone());
    let page = render(&run);
    let tree = tree(&page);
    let count = |tag| tree.descendants().filter(|node| node.has_tag_name(tag)).count();
    // Scatter, two bars, two latencies, eight panels, three sweeps of two.
    assert_eq!(count("svg"), 19);
    assert_eq!(count("details"), sample::run().workloads.len());
    let ids = tree.descendants().filter_map(|node| node.attribute("id"));
    let mut ids: Vec<_> = ids.collect();
    ids.sort_unstable();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

#[test]
fn a_page_needs_nothing_but_itself() {
    let page = render(&sample::run());
    for word in ["http:", "https:", "src=", "url(", "@import", "<link", "<iframe", "fetch("] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn names_are_escaped() {
    let mut run = sample::run();
    let bad = "<script>alert('&\"')</script>\u{1}";
    run.allocators[0].name = bad.into();
    run.command = bad.into();
    run.machine.processor = bad.into();
    for workload in &mut run.workloads {
        workload.name = bad.into();
        workload.what = bad.into();
        workload.unit = bad.into();
        workload.group = bad.into();
        workload.cells[0].allocator = bad.into();
        workload.cells[1].failed = Some(bad.into());
    }
    for sweep in &mut run.sweeps {
        (sweep.name, sweep.what) = (bad.into(), bad.into());
        sweep.curves[0].allocator = bad.into();
    }
    let page = render(&run);
    assert!(!page.contains("<script>alert"));
    let tree = tree(&page);
    assert_eq!(tree.descendants().filter(|node| node.has_tag_name("script")).count(), 1);
}

#[test]
fn figures_in_the_page_are_those_of_the_run() {
    let run = sample::run();
    let page = render(&run);
    let tree = tree(&page);
    for workload in &run.workloads {
        let mut expected = std::collections::HashMap::<_, Vec<String>>::new();
        let tables = KINDS.iter().filter_map(|kind| tables::latency(workload, *kind));
        for table in [tables::workload(workload)].into_iter().chain(tables) {
            for mut row in table.rows {
                let allocator = row.remove(0);
                if row[0].starts_with("failed") {
                    row.truncate(1);
                }
                expected.entry(allocator).or_default().extend(row);
            }
        }
        for cell in &workload.cells {
            assert_eq!(cells(&tree, &workload.name, &cell.allocator), expected[&cell.allocator]);
        }
    }
}

#[test]
fn a_figure_of_the_json_is_found_in_the_page_as_it_is() {
    let mut run = sample::run();
    let cell = &mut run.workloads[19].cells[0];
    cell.runs.iter_mut().for_each(|sample| (sample.ns, sample.peak_kib) = (77.7, 123 * 1024));
    cell.malloc_latency.as_mut().unwrap().p99_9 = 31_337;
    let page = render(&run);
    let tree = tree(&page);
    let cells = cells(&tree, "service", "bitmag");
    assert_eq!(
        (cells[0].as_str(), cells[1].as_str(), cells[3].as_str()),
        ("77.7", "77.7..77.7", "123")
    );
    assert!(cells.contains(&"31,337".to_string()));
    assert!(page.contains("bitmag, malloc, p99.9: 31,337 ns"));
}

#[test]
fn an_empty_run_has_a_page_too() {
    let page = render(&Run::default());
    assert!(!page.contains("NaN") && !page.contains("inf"));
    tree(&page);
    assert!(!render(&sample::run()).contains("NaN"));
}
