//! What each consumer got, and what it did not get.

use super::super::DemoError;
use super::super::expect::{self, People};
use super::super::sink::Sink;
use super::super::stage::Stage;
use crate::synth::YUZHONG;

const JIANGBEI: &str = "500105";
/// The eight items of a hall's view of a person.
const HALL_ITEMS: &str = "id_no name sex ethnic birth_date hukou_division live_division live_addr";
/// The items of the supervisor's view.
const BANK_ITEMS: &str = "id_no sex birth_date live_division marital death_flag";

pub(in crate::demo) async fn run(stage: &mut Stage) -> Result<(), DemoError> {
    stage.narrator.step("Receiving");
    let people = expect::people(&stage.home.path("sources/population/population.csv"))?;
    population(stage, &people).await?;
    for (system, prefix, resource) in [
        ("bank-supervisor", "bank", "legal-person"),
        ("bank-supervisor", "bank", "credit-permit"),
        ("bank-supervisor", "bank", "credit-penalty"),
        ("bank-supervisor", "bank", "legal-entity"),
        ("bank-supervisor", "bank", "labour-penalty"),
        ("hall-yuzhong", "hall-yuzhong", "division"),
    ] {
        sink(stage, &format!("{prefix}-{resource}")).await?;
        let rows = Sink::open(&stage.sink(system)).await?.rows(&resource.replace('-', "_")).await?;
        let live = stage.live.get(resource).copied().unwrap_or_default();
        stage.narrator.expect(&format!("{system}: rows of {resource}"), rows, live);
    }
    Ok(())
}

/// Lets the three consumers of the population register catch up, and checks what they then hold.
pub(in crate::demo) async fn population(stage: &mut Stage, people: &People) -> Result<(), DemoError> {
    for connector in ["hall-yuzhong-population", "hall-jiangbei-population", "bank-population"] {
        sink(stage, connector).await?;
    }
    for (hall, district) in [("hall-yuzhong", YUZHONG), ("hall-jiangbei", JIANGBEI)] {
        let mut sink = Sink::open(&stage.sink(hall)).await?;
        let rows = sink.rows("population").await?;
        stage.narrator.expect(&format!("{hall}: people of its district"), rows, people.living_in(district));
        let items = sink.items("population").await?;
        let elsewhere = sink.where_not("live_division", district).await?;
        let unmasked = sink
            .number("SELECT count(*) FROM population WHERE replace(substr(name, 2), '*', '') <> ''")
            .await?;
        stage.narrator.check(
            elsewhere == 0 && unmasked == 0 && items == HALL_ITEMS,
            format_args!("{hall}: {elsewhere} people of other districts, {unmasked} names that are not masked; items {items}"),
        );
    }
    let mut bank = Sink::open(&stage.sink("bank-supervisor")).await?;
    let rows = bank.rows("population").await?;
    stage.narrator.expect("bank-supervisor: people", rows, people.valid);
    let known = bank
        .number("SELECT count(*) FROM population WHERE id_no GLOB '500199*' OR length(id_no) <> 32")
        .await?;
    let days = bank.number("SELECT count(*) FROM population WHERE birth_date NOT LIKE '%-01-01'").await?;
    let items = bank.items("population").await?;
    stage.narrator.check(
        known == 0 && days == 0 && items == BANK_ITEMS,
        format_args!(
            "bank-supervisor: {known} citizen numbers, {days} birth dates closer than the year; items {items}"
        ),
    );
    Ok(())
}

/// How many rows a hall holds of one person.
pub(in crate::demo) async fn person(stage: &Stage, hall: &str, number: &str) -> Result<u64, DemoError> {
    Ok(Sink::open(&stage.sink(hall)).await?.where_is("id_no", number).await?)
}

/// Lets a sink catch up to the end of its resource.
async fn sink(stage: &Stage, connector: &str) -> Result<(), DemoError> {
    let file = format!("connectors/{connector}.toml");
    let arguments = ["connector", "run", &file, "--once"];
    let done = stage.run_shown(&arguments, format!("{connector} is receiving")).await?;
    if done.succeeded {
        Ok(())
    } else {
        Err(DemoError::Command { command: format!("connector run {file}"), complaint: done.complaint })
    }
}
