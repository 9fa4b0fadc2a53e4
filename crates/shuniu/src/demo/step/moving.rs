//! A day passes: people move, come and go.

use super::super::DemoError;
use super::super::expect;
use super::super::stage::Stage;
use super::{prepare, publish, receive};
use crate::figure::figure;
use crate::synth::{Edition, Register};

pub(in crate::demo) async fn run(stage: &mut Stage) -> Result<(), DemoError> {
    stage.narrator.step("A day later");
    let path = prepare::make_up(stage, Register::Population, Edition::Second)?.path;
    let report = publish::source(stage, "population").await?;
    stage.narrator.say(format_args!(
        "The population register again: {} came, {} changed, {} went; nothing else was sent.",
        figure(report.inserted()),
        figure(report.updated()),
        figure(report.deleted())
    ));
    let people = expect::people(&path)?;
    receive::population(stage, &people).await?;
    let Some(mover) = stage.synth.mover() else {
        stage.narrator.check(false, "somebody moves from Yuzhong to Jiangbei");
        return Ok(());
    };
    let number = mover.as_str();
    stage.narrator.say(format_args!("{number} has moved from Yuzhong to Jiangbei:"));
    for (hall, holds) in [("hall-yuzhong", 0), ("hall-jiangbei", 1)] {
        let rows = receive::person(stage, hall, number).await?;
        stage.narrator.expect(&format!("{hall} holds {number}, rows"), rows, holds);
    }
    Ok(())
}
