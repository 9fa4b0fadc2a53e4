//! Unchanged clients at the Kafka door: every scenario with every client over every record store, one test each, named
//! `STORE::CLIENT::SCENARIO`. What a client does in its own way is written in `clients.rs`, and the table in docs/CLIENTS.md is
//! this matrix: a test holds them equal.
//!
//! The clients that are quick to install are tested always, over the hub's own engine. The others, and all over Apache
//! Kafka, are ignored unless they are asked for (`make test-clients`).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed"
)]

mod clients;
mod program;
mod scenarios;
mod table;
mod tap;
mod world;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::clients::{CLIENTS, Client};
use crate::program::Program;
use crate::scenarios::SCENARIOS;
use crate::world::{Store, World};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let worlds = Store::ALL.map(|store| Arc::new(World::new(store)));
    let mut trials = vec![Trial::test("the_page_on_clients_says_what_these_tests_hold", || {
        caught(table::the_page_says_it)
    })];
    for client in &CLIENTS {
        trials.push(
            Trial::test(format!("{}::its_version_is_the_one_written_down", client.name), || {
                caught(|| Program::start(client, &["version".to_owned()]).has_version())
            })
            .with_ignored_flag(!client.quick),
        );
    }
    for world in &worlds {
        trials.extend(CLIENTS.iter().flat_map(|client| matrix(world, client)));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if conclusion.has_failed() {
        worlds.iter().for_each(|world| world.show_logs());
    }
    // The hubs end with their worlds: no test holds them any more.
    drop(worlds);
    conclusion.exit_code()
}

/// The scenarios of a client over a record store.
fn matrix(world: &Arc<World>, client: &'static Client) -> impl Iterator<Item = Trial> {
    let store = world.store();
    let always = client.quick && store == Store::Engine;
    SCENARIOS.iter().filter(move |it| it.applies(client, store)).map(move |scenario| {
        let world = Arc::clone(world);
        let name = format!("{}::{}::{}", store.name(), client.name, scenario.name);
        Trial::test(name, move || caught(|| (scenario.run)(&world, client))).with_ignored_flag(!always)
    })
}

/// A panic is a failed test whose message is printed with it.
fn caught(test: impl FnOnce()) -> Result<(), Failed> {
    std::panic::catch_unwind(AssertUnwindSafe(test)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
        Failed::from(text.unwrap_or_else(|| "the test panicked".to_owned()))
    })
}
