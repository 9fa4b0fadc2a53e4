//! Every department publishes its register.

use super::super::DemoError;
use super::super::expect;
use super::super::report::Report;
use super::super::stage::Stage;
use crate::figure::figure;

/// Inserted, updated and deleted from one vintage of the division lists to the next, counted apart from this program.
const DIVISION_STEPS: [(u64, u64, u64); 8] = [
    (3_885, 0, 0),
    (255, 2, 99),
    (54, 9, 58),
    (26, 144, 40),
    (27, 3, 27),
    (45, 3, 47),
    (0, 1, 6),
    (10, 2, 16),
];
/// Rows of the last month's list, no two of the same firm, address and day.
const LABOUR_PENALTIES_LAST: u64 = 413;
/// Legal entities with an LEI, each with check digits that fit.
const LEGAL_ENTITIES: u64 = 6_619;

pub(in crate::demo) async fn run(stage: &mut Stage) -> Result<(), DemoError> {
    stage.narrator.step("Publishing");
    let people = expect::people(&stage.home.path("sources/population/population.csv"))?;
    let report = source(stage, "population").await?;
    tell(stage, "population", "population", &report);
    stage.narrator.expect("population: people published", report.inserted(), people.valid);
    stage.narrator.expect("population: rows rejected", report.rejected(), people.broken);
    for (register, columns) in
        [("legal-person", [1, 0, 10]), ("credit-permit", [0, 2, 11]), ("credit-penalty", [0, 2, 13])]
    {
        let path = stage.home.path(format!("sources/{register}/{register}.csv"));
        let valid = expect::organisations(&path, columns)?;
        let report = source(stage, register).await?;
        tell(stage, register, register, &report);
        stage.narrator.expect(&format!("{register}: records published"), report.inserted(), valid);
    }
    let report = source(stage, "legal-entity").await?;
    tell(stage, "legal-entity", "legal-entity", &report);
    stage.narrator.expect("legal-entity: records published", report.inserted(), LEGAL_ENTITIES);
    let report = source(stage, "division").await?;
    tell(stage, "division", "division", &report);
    stage.narrator.check(
        report.steps() == DIVISION_STEPS,
        "division: each of the eight vintages inserts, updates and deletes what was counted apart",
    );
    let report = source(stage, "labour-penalty").await?;
    tell(stage, "labour-penalty", "labour-penalty", &report);
    let live = report.inserted().saturating_sub(report.deleted());
    stage.narrator.expect("labour-penalty: live after the last month", live, LABOUR_PENALTIES_LAST);
    if stage.real_data.is_some() {
        for (connector, resource) in [
            ("legal-person-chongqing-csv", "legal-person"),
            ("legal-person-chongqing-xls", "legal-person"),
            ("legal-person-chongqing-json", "legal-person"),
            ("credit-permit-cosmetics", "credit-permit"),
        ] {
            let report = source(stage, connector).await?;
            tell(stage, connector, resource, &report);
        }
    }
    Ok(())
}

/// Runs a source once over its files.
pub(in crate::demo) async fn source(stage: &Stage, connector: &str) -> Result<Report, DemoError> {
    let (file, report) = (format!("connectors/{connector}.toml"), format!("reports/{connector}.json"));
    let arguments = ["connector", "run", &file, "--once", "--report", &report];
    let done = stage.run_shown(&arguments, format!("{connector} is publishing")).await?;
    if !done.succeeded {
        return Err(DemoError::Command {
            command: format!("connector run {file}"),
            complaint: done.complaint,
        });
    }
    let path = stage.home.path(report);
    let text = std::fs::read(&path).map_err(|source| DemoError::File { path: path.clone(), source })?;
    serde_json::from_slice(&text).map_err(|source| DemoError::Report { path, source })
}

/// Says what was published of a resource, by the connector of that name.
fn tell(stage: &mut Stage, name: &str, resource: &str, report: &Report) {
    let live = stage.live.entry(resource.to_owned()).or_default();
    *live = (*live + report.inserted()).saturating_sub(report.deleted());
    let files = match report.files.len() {
        1 => String::new(),
        files => format!(" in {files} files"),
    };
    stage.narrator.say(format_args!(
        "{name}: {} rows{files}: {} inserted, {} updated, {} deleted, {} rejected",
        figure(report.rows()),
        figure(report.inserted()),
        figure(report.updated()),
        figure(report.deleted()),
        figure(report.rejected())
    ));
    for (rule, count) in report.rules() {
        stage.narrator.say(format_args!("   rejected {:>6}: {rule}", figure(count)));
    }
}
