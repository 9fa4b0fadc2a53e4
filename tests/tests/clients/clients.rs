//! The clients, and what each of them cannot do.

use std::path::Path;

use shuniu_tests::repository;

/// One client and its program in `tests/clients`.
pub(crate) struct Client {
    /// As its test names and its topics begin.
    pub(crate) name: &'static str,
    /// As people call it.
    pub(crate) title: &'static str,
    /// Whether it is there after `tests/setup tests`.
    pub(crate) quick: bool,
    /// The program and its first arguments, from the repository's root.
    command: &'static [&'static str],
    /// Environment of the program, relative paths from the repository's root.
    pub(crate) environment: &'static [(&'static str, &'static str)],
    /// Where its version is pinned, and the text before the version there.
    pin: Option<(&'static str, &'static str)>,
    /// What it compresses with.
    pub(crate) codecs: &'static [&'static str],
    /// The codec that its grants name.
    pub(crate) reads: &'static str,
    /// Whether its user reads why a record was refused, and not only that it was.
    pub(crate) tells_why: bool,
    /// What it makes of the newer group protocol (KIP-848).
    pub(crate) new_groups: NewGroups,
}

/// What a client makes of the newer group protocol, which the hub serves where its record store is a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NewGroups {
    /// It does not speak it.
    No,
    /// Over the engine its user is told that it is not served.
    Told,
    /// Over the engine it goes on with the classic protocol.
    Classic,
    /// Over the engine it waits, and says nothing.
    Silent,
}

const ALL: &[&str] = &["none", "gzip", "snappy", "lz4", "zstd"];

pub(crate) const CLIENTS: [Client; 9] = [
    Client {
        name: "kcat",
        title: "kcat (Debian's)",
        quick: true,
        command: &[".cache/venv/bin/python", "tests/clients/kcat/kcat.py"],
        environment: &[],
        pin: None,
        codecs: ALL,
        reads: "lz4",
        tells_why: false,
        new_groups: NewGroups::No,
    },
    Client {
        name: "python",
        title: "confluent-kafka for Python",
        quick: true,
        command: &[".cache/venv/bin/python", "tests/clients/python/confluent.py"],
        environment: &[],
        pin: Some(("tests/clients/python/requirements.txt", "confluent-kafka[avro,schemaregistry]==")),
        codecs: ALL,
        reads: "lz4",
        tells_why: false,
        new_groups: NewGroups::Silent,
    },
    Client {
        name: "node-rdkafka",
        title: "node-rdkafka",
        quick: false,
        command: &["node", "tests/clients/node/node-rdkafka.js"],
        environment: &[("NODE_PATH", ".cache/clients/node/node_modules")],
        pin: Some(("tests/clients/node/package.json", "\"node-rdkafka\": \"")),
        codecs: ALL,
        reads: "lz4",
        tells_why: false,
        new_groups: NewGroups::Silent,
    },
    Client {
        name: "kafkajs",
        title: "kafkajs",
        quick: false,
        command: &["node", "tests/clients/node/kafkajs.js"],
        environment: &[("NODE_PATH", ".cache/clients/node/node_modules")],
        pin: Some(("tests/clients/node/package.json", "\"kafkajs\": \"")),
        codecs: &["none", "gzip"],
        reads: "gzip",
        tells_why: false,
        new_groups: NewGroups::No,
    },
    Client {
        name: "kafkajs-lz4",
        title: "kafkajs with kafkajs-lz4 and kafkajs-snappy",
        quick: false,
        command: &["node", "tests/clients/node/kafkajs.js"],
        environment: &[("NODE_PATH", ".cache/clients/node/node_modules"), ("KAFKAJS_PLUGINS", "1")],
        pin: Some(("tests/clients/node/package.json", "\"kafkajs\": \"")),
        codecs: &["none", "gzip", "snappy", "lz4"],
        reads: "lz4",
        tells_why: false,
        new_groups: NewGroups::No,
    },
    Client {
        name: "java-3",
        title: "Java",
        quick: false,
        command: &["java", "-cp", ".cache/clients/java-3/*:.cache/clients/java-3/classes", "Matrix"],
        environment: &[],
        pin: Some(("tests/clients/java/pom.xml", "<kafka.version>3")),
        codecs: ALL,
        reads: "lz4",
        tells_why: true,
        new_groups: NewGroups::Told,
    },
    Client {
        name: "java-4",
        title: "Java",
        quick: false,
        command: &["java", "-cp", ".cache/clients/java-4/*:.cache/clients/java-4/classes", "Matrix"],
        environment: &[],
        pin: Some(("tests/clients/java/pom.xml", "<kafka.version>4")),
        codecs: ALL,
        reads: "lz4",
        tells_why: true,
        new_groups: NewGroups::Told,
    },
    Client {
        name: "franz-go",
        title: "franz-go",
        quick: false,
        command: &[".cache/clients/go/franz-go"],
        environment: &[],
        pin: Some(("tests/clients/go/go.mod", "github.com/twmb/franz-go v")),
        codecs: ALL,
        reads: "lz4",
        tells_why: false,
        new_groups: NewGroups::Classic,
    },
    Client {
        name: "sarama",
        title: "sarama",
        quick: false,
        command: &[".cache/clients/go/sarama"],
        environment: &[],
        pin: Some(("tests/clients/go/go.mod", "github.com/IBM/sarama v")),
        codecs: ALL,
        reads: "lz4",
        tells_why: false,
        new_groups: NewGroups::No,
    },
];

impl Client {
    /// Program and first arguments. Paths are from the repository's root, where it is run.
    pub(crate) fn command(&self) -> (String, &'static [&'static str]) {
        let (program, arguments) = self.command.split_first().unwrap();
        let own = repository().join(program);
        let program =
            if program.contains('/') { own.to_str().unwrap().to_owned() } else { (*program).to_owned() };
        assert!(
            !program.contains('/') || Path::new(&program).exists(),
            "{} is not installed: make setup-clients",
            self.name
        );
        (program, arguments)
    }

    /// The pinned version; none of a client that is Debian's.
    pub(crate) fn version(&self) -> Option<String> {
        let (file, before) = self.pin?;
        let text = std::fs::read_to_string(repository().join(file)).unwrap();
        let (_, tail) =
            text.split_once(before).unwrap_or_else(|| panic!("{file} does not pin {}", self.name));
        let rest: String = tail.chars().take_while(|it| it.is_ascii_digit() || *it == '.').collect();
        // Java's two versions are told apart by their first digit.
        let first = before.strip_prefix("<kafka.version>").unwrap_or("");
        Some(format!("{first}{rest}"))
    }
}
