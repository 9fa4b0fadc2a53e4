//! The registers, the authority, the directory and the hub.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use shuniu_model::SystemId;
use shuniu_wire::messages::metadata_request::MetadataRequestTopic;
use shuniu_wire::messages::{MetadataRequest, StrBytes, TopicName};
use shuniu_wire::{Request, Response};

use super::super::process::Running;
use super::super::stage::Stage;
use super::super::{DemoError, material};
use crate::ca::Authority;
use crate::client::Client;
use crate::clock;
use crate::config::Config;
use crate::figure::figure;
use crate::synth::{Edition, Fault, Register, Written};

/// The systems of `config/directory.toml`; a test holds the two equal.
pub(in crate::demo) const SYSTEMS: [&str; 9] = [
    "population-register",
    "company-register",
    "credit-centre",
    "civil-affairs",
    "commerce",
    "labour-bureau",
    "hall-yuzhong",
    "hall-jiangbei",
    "bank-supervisor",
];

/// Who publishes what.
const PUBLISHED: [(&str, &str); 7] = [
    ("population-register", "population"),
    ("company-register", "legal-person"),
    ("credit-centre", "credit-permit"),
    ("credit-centre", "credit-penalty"),
    ("civil-affairs", "division"),
    ("commerce", "legal-entity"),
    ("labour-bureau", "labour-penalty"),
];

/// Days for which the demonstration's certificates are good.
const CERTIFICATE_DAYS: u32 = 30;

/// Makes up the registers and lays the real ones beside them.
pub(in crate::demo) fn registers(stage: &mut Stage) -> Result<(), DemoError> {
    stage.narrator.step("Registers");
    for register in Register::ALL {
        let written = make_up(stage, register, Edition::First)?;
        let faults: u64 = written.faults.values().sum();
        stage.narrator.say(format_args!(
            "{:<14} {:>9} rows made up, {} of them broken on purpose{}",
            register.resource(),
            figure(written.rows),
            figure(faults),
            kinds(&written.faults),
        ));
    }
    let vintages = divisions(stage)?;
    stage.narrator.say(format_args!(
        "division       {vintages:>9} vintages of real lists: the country's counties with Chongqing's towns"
    ));
    stage.narrator.say("legal-entity       6,619 real legal entities of China, Hong Kong and Singapore");
    stage.narrator.say(format_args!(
        "labour-penalty {:>9} months of a real list: firms published for breaches of labour law in Japan",
        material::LABOUR_PENALTIES.len()
    ));
    if let Some(folder) = stage.real_data.clone() {
        for part in ["cn-enterprise-chongqing", "cn-permit-cosmetics"] {
            let files =
                stage.copy(&folder.join(part), &format!("sources/{part}")).map_err(DemoError::Home)?;
            stage.narrator.say(format_args!("{part}: {files} real files from {}", folder.display()));
        }
    }
    stage.narrator.say("Every made-up citizen number starts with 500199, a code that no place ever had.");
    Ok(())
}

/// Writes one edition of a register where its connector looks for it.
pub(in crate::demo) fn make_up(
    stage: &Stage,
    register: Register,
    edition: Edition,
) -> Result<Written, DemoError> {
    let name = register.resource();
    let path = stage.home.path(format!("sources/{name}/{name}.csv"));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|source| DemoError::File { path: folder.to_owned(), source })?;
    }
    let bar = ProgressBar::new(stage.synth.rows(register)).with_style(
        // A template that cannot be parsed leaves the default one.
        ProgressStyle::with_template("   {msg} {bar:30} {human_pos}/{human_len}")
            .unwrap_or(ProgressStyle::default_bar()),
    );
    bar.set_message(name);
    bar.enable_steady_tick(Duration::from_millis(200));
    let written = stage
        .synth
        .write(register, edition, &path, &mut |rows| bar.set_position(rows))
        .map_err(|source| DemoError::Table { path, source });
    bar.finish_and_clear();
    written
}

/// Puts the counties and the towns of each vintage into one list, as one department publishes them.
fn divisions(stage: &Stage) -> Result<usize, DemoError> {
    let mut lists: BTreeMap<&str, String> = BTreeMap::new();
    for file in material::DIVISIONS {
        let text = String::from_utf8_lossy(file.content);
        let name = file.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".csv");
        let counties = name.strip_prefix("counties-");
        let Some(day) = counties.or_else(|| name.strip_prefix("chongqing-towns-")) else { continue };
        let list =
            lists.entry(day).or_insert_with(|| "code,name,areaCode,provinceCode,cityCode\n".to_owned());
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            match fields.as_slice() {
                [code, name, city, province] if counties.is_some() => {
                    list.push_str(&format!("{code},{name},,{province},{city}\n"));
                }
                [code, name, county, province, city] => {
                    list.push_str(&format!("{code},{name},{county},{province},{city}\n"));
                }
                _ => {}
            }
        }
    }
    for (day, list) in &lists {
        stage
            .home
            .write(&format!("sources/division/divisions-{day}.csv"), list.as_bytes())
            .map_err(DemoError::Home)?;
    }
    Ok(lists.len())
}

/// Makes the authority and a certificate for the hub and each system, and writes the directory.
pub(in crate::demo) async fn directory(stage: &mut Stage) -> Result<(), DemoError> {
    stage.narrator.step("Who there is, and who may have what");
    let now = clock::system()();
    let authority =
        Authority::create(&stage.home.ca(), "Shuniu demonstration", now).map_err(DemoError::Ca)?;
    authority
        .issue_hub(&["localhost".to_owned()], &[stage.doors.kafka_address().ip()], now, CERTIFICATE_DAYS)
        .map_err(DemoError::Ca)?;
    for system in SYSTEMS {
        let id = SystemId::parse(system).map_err(DemoError::System)?;
        authority.issue_system(&id, now, CERTIFICATE_DAYS).map_err(DemoError::Ca)?;
    }
    stage.narrator.say(format_args!(
        "One authority; certificates (ECDSA P-256) for the hub and {} systems. No system has a password.",
        SYSTEMS.len()
    ));
    let applied = stage.run(&["directory", "apply", "config/directory.toml", "--data", "data"]).await?;
    let lines = |kind: &'static str| applied.output.lines().filter_map(move |line| line.strip_prefix(kind));
    stage.narrator.say(format_args!(
        "{} organisations, {} systems, {} resources, and these grants:",
        lines("+ organisation ").count(),
        lines("+ system ").count(),
        lines("+ resource ").count()
    ));
    for grant in lines("+ grant ") {
        stage.narrator.say(format_args!("   {}", grant.split(';').next().unwrap_or_default()));
    }
    stage.narrator.check(applied.succeeded, "`shuniu directory apply config/directory.toml` is done");
    if !applied.succeeded {
        return Err(DemoError::Command {
            command: "directory apply".to_owned(),
            complaint: applied.complaint,
        });
    }
    Ok(())
}

/// Starts the hub and waits for its doors.
pub(in crate::demo) async fn hub(stage: &mut Stage) -> Result<(), DemoError> {
    stage.narrator.step("The hub");
    let mut config = Config::default();
    config.hub.data_folder = stage.home.hub();
    config.gateway.listen = stage.doors.kafka_address();
    config.gateway.port = stage.doors.kafka;
    config.api.listen = stage.doors.api_address();
    config.api.health_listen = stage.doors.health_address();
    config.audit.name = "demo.shuniu.example/audit".to_owned();
    let text = config.to_toml().map_err(DemoError::Config)?;
    stage.home.write("hub.toml", text.as_bytes()).map_err(DemoError::Home)?;
    let log = stage.home.path("hub.log");
    let mut hub = Running::start(&["hub", "--config", "hub.toml"], &stage.home.path(""), &log)?;
    for door in [stage.doors.kafka_address(), stage.doors.api_address()] {
        hub.until_open(door, &log).await?;
    }
    stage.narrator.say(format_args!(
        "Process {}: Kafka protocol on localhost:{}, HTTP on localhost:{}, both TLS 1.3 with client certificates.",
        hub.id().unwrap_or_default(),
        stage.doors.kafka,
        stage.doors.api
    ));
    stage.hub = Some(hub);
    let mut topics = 0;
    for (system, resource) in PUBLISHED {
        topics += u32::from(topic_is_made(stage, system, resource).await?);
    }
    stage.narrator.check(
        topics == 7,
        format_args!("the hub has made a topic for each resource of the directory: {topics} of 7"),
    );
    Ok(())
}

/// Asks for the topic, as its publishing system, until it is there or patience ends.
async fn topic_is_made(stage: &Stage, system: &str, resource: &str) -> Result<bool, DemoError> {
    const VERSION: i16 = 12;
    const TRIES: u32 = 100;
    let mut client = Client::connect(&stage.identity(system)).await.map_err(DemoError::Client)?;
    let name = TopicName(StrBytes::from_string(resource.to_owned()));
    let topic = MetadataRequestTopic::default().with_name(Some(name));
    let request = Request::Metadata(MetadataRequest::default().with_topics(Some(vec![topic])));
    for _ in 0..TRIES {
        let Response::Metadata(answer) = client.call(VERSION, &request).await.map_err(DemoError::Client)?
        else {
            return Ok(false);
        };
        if answer.topics.iter().any(|topic| topic.error_code == 0) {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(false)
}

fn kinds(faults: &BTreeMap<Fault, u64>) -> String {
    let names: Vec<String> = faults
        .iter()
        .map(|(fault, count)| {
            let name = match fault {
                Fault::CheckCharacter => "check character",
                Fault::ImpossibleDate => "impossible date",
                Fault::UnknownCode => "unknown code",
                Fault::Missing => "required item empty",
            };
            format!("{name} {count}")
        })
        .collect();
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}
