//! What goes wrong, drawn from a seed.

use std::fmt;
use std::time::Duration;

use shuniu_tests::{Replicas, Way};

/// `SplitMix64`: the same seed, the same faults.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(count).unwrap()).unwrap()
    }
}

/// One fault. Brokers are counted from 1, hubs from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    KillHub(usize),
    /// The one that moved the log's tiles last.
    KillSequencingHub,
    KillAllHubs,
    /// In order, by SIGTERM.
    StopHub(usize),
    PauseHub(usize),
    KillBroker(usize),
    /// The one that leads the audit log's topic.
    KillLogsLeader,
    PauseBroker(usize),
    KillPostgres,
    PausePostgres,
    KillHubAndBroker(usize, usize),
    CutFromPostgres(usize, Way),
    CutFromBrokers(usize, Way),
    CutFromBroker(usize, usize, Way),
    CutFromTiles(usize, Way),
    CutFromClients(usize, Way),
    TilesFull,
    /// Nothing can be written to a hub's data folder.
    FolderFull(usize),
    /// From both of the others, or from one of them.
    CutBrokerFromPeers(usize),
    CutBetweenBrokers(usize, usize),
    /// It ends when it finds out.
    BrokerFull(usize),
    /// A hub's clock, by so many minutes.
    StepClock(usize, i32),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillHub(hub) => write!(f, "kill -9 hub {hub}"),
            Self::KillSequencingHub => write!(f, "kill -9 the hub that sequences"),
            Self::KillAllHubs => write!(f, "kill -9 every hub"),
            Self::StopHub(hub) => write!(f, "stop hub {hub} in order"),
            Self::PauseHub(hub) => write!(f, "hold hub {hub}"),
            Self::KillBroker(broker) => write!(f, "kill -9 broker {broker}"),
            Self::KillLogsLeader => write!(f, "kill -9 the broker that leads the audit log"),
            Self::PauseBroker(broker) => write!(f, "hold broker {broker}"),
            Self::KillPostgres => write!(f, "kill -9 PostgreSQL"),
            Self::PausePostgres => write!(f, "hold PostgreSQL"),
            Self::KillHubAndBroker(hub, broker) => write!(f, "kill -9 hub {hub} and broker {broker}"),
            Self::CutFromPostgres(hub, way) => write!(f, "hub {hub} from PostgreSQL: {way:?}"),
            Self::CutFromBrokers(hub, way) => write!(f, "hub {hub} from every broker: {way:?}"),
            Self::CutFromBroker(hub, broker, way) => write!(f, "hub {hub} from broker {broker}: {way:?}"),
            Self::CutFromTiles(hub, way) => write!(f, "hub {hub} from the tiles: {way:?}"),
            Self::CutFromClients(hub, way) => write!(f, "hub {hub} from clients: {way:?}"),
            Self::TilesFull => write!(f, "the store of tiles is full"),
            Self::FolderFull(hub) => write!(f, "the data folder of hub {hub} is full"),
            Self::CutBrokerFromPeers(broker) => write!(f, "broker {broker} from the other brokers"),
            Self::CutBetweenBrokers(one, other) => write!(f, "broker {one} from broker {other}"),
            Self::BrokerFull(broker) => write!(f, "the disk of broker {broker} is full"),
            Self::StepClock(hub, minutes) => write!(f, "the clock of hub {hub} steps by {minutes:+} minutes"),
        }
    }
}

impl Fault {
    /// The fault's kind, for counting.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::KillHub(_) => "kill -9 a hub",
            Self::KillSequencingHub => "kill -9 the sequencing hub",
            Self::KillAllHubs => "kill -9 every hub",
            Self::StopHub(_) => "stop a hub in order",
            Self::PauseHub(_) => "hold a hub",
            Self::KillBroker(_) => "kill -9 a broker",
            Self::KillLogsLeader => "kill -9 the log's leader",
            Self::PauseBroker(_) => "hold a broker",
            Self::KillPostgres => "kill -9 PostgreSQL",
            Self::PausePostgres => "hold PostgreSQL",
            Self::KillHubAndBroker(..) => "kill -9 a hub and a broker",
            Self::CutFromPostgres(..) => "cut a hub from PostgreSQL",
            Self::CutFromBrokers(..) => "cut a hub from all brokers",
            Self::CutFromBroker(..) => "cut a hub from one broker",
            Self::CutFromTiles(..) => "cut a hub from the tiles",
            Self::CutFromClients(..) => "cut clients from a hub",
            Self::TilesFull => "tiles full",
            Self::FolderFull(_) => "data folder full",
            Self::CutBrokerFromPeers(_) => "cut a broker from the others",
            Self::CutBetweenBrokers(..) => "cut two brokers from each other",
            Self::BrokerFull(_) => "a broker's disk full",
            Self::StepClock(..) => "step a hub's clock",
        }
    }

    /// The next fault, and how long it lasts: 1 to 4 seconds, one in five 6 to 12.
    pub(super) fn draw(random: &mut Random, hubs: usize) -> (Self, Duration) {
        let (hub, broker) = (random.below(hubs), 1 + random.below(3));
        let way = if random.below(2) == 0 { Way::Silent } else { Way::Cut };
        let other = 1 + (broker + random.below(2)) % 3;
        let minutes = [-50, -2, 2, 50][random.below(4)];
        let fault = match random.below(25) {
            0 | 1 => Self::KillHub(hub),
            2 => Self::KillSequencingHub,
            3 => Self::KillAllHubs,
            4 => Self::StopHub(hub),
            5 | 6 => Self::PauseHub(hub),
            7 => Self::KillBroker(broker),
            8 => Self::KillLogsLeader,
            9 => Self::PauseBroker(broker),
            10 => Self::KillPostgres,
            11 => Self::PausePostgres,
            12 => Self::KillHubAndBroker(hub, broker),
            13 | 14 => Self::CutFromPostgres(hub, way),
            15 => Self::CutFromBrokers(hub, way),
            16 => Self::CutFromBroker(hub, broker, way),
            17 => Self::CutFromTiles(hub, way),
            18 => Self::CutFromClients(hub, way),
            19 => Self::TilesFull,
            20 => Self::FolderFull(hub),
            21 => Self::CutBrokerFromPeers(broker),
            22 => Self::CutBetweenBrokers(broker, other),
            23 => Self::BrokerFull(broker),
            _ => Self::StepClock(hub, minutes),
        };
        let tenths = if random.below(5) == 0 { 60 + random.below(60) } else { 10 + random.below(30) };
        (fault, Duration::from_millis(u64::try_from(tenths * 100).unwrap()))
    }

    /// The fault with what it means now: which hub sequences, which broker leads.
    pub(super) fn settled(self, replicas: &Replicas) -> Self {
        match self {
            Self::KillSequencingHub => Self::KillHub(replicas.sequencing()),
            Self::KillLogsLeader => Self::KillBroker(replicas.kafka.leader("shuniu.audit", 0).unwrap_or(1)),
            // Where no small file system can be mounted, the tiles are full instead.
            Self::FolderFull(hub) if !replicas.hub(hub).has_own_disk() => Self::TilesFull,
            // Where there may be no network namespaces, no small disks, no clocks: the nearest that can be done.
            Self::CutBrokerFromPeers(broker) | Self::CutBetweenBrokers(broker, _)
                if !replicas.kafka.has_own_network() =>
            {
                Self::PauseBroker(broker)
            }
            Self::BrokerFull(broker) if !replicas.kafka.has_own_disk(broker) => Self::KillBroker(broker),
            Self::StepClock(hub, _) if !replicas.hub(hub).has_own_clock() => Self::PauseHub(hub),
            settled => settled,
        }
    }

    /// The hub that cannot be told anything, or that nobody can ask.
    pub(super) fn silenced(self) -> Option<usize> {
        match self {
            Self::PauseHub(hub) => Some(hub),
            _ => None,
        }
    }

    /// Lets it happen.
    pub(super) fn inflict(self, replicas: &mut Replicas) {
        match self {
            Self::KillHub(hub) => replicas.kill(hub),
            Self::KillAllHubs => (0..replicas.count()).for_each(|hub| replicas.kill(hub)),
            Self::StopHub(hub) => replicas.stop(hub),
            Self::PauseHub(hub) => replicas.hub(hub).signal("STOP"),
            Self::KillBroker(broker) => replicas.kafka.kill(broker),
            Self::PauseBroker(broker) => replicas.kafka.pause(broker),
            Self::KillPostgres => replicas.postgres.kill(),
            Self::PausePostgres => replicas.postgres.hang(),
            Self::KillHubAndBroker(hub, broker) => {
                replicas.kafka.kill(broker);
                replicas.kill(hub);
            }
            Self::TilesFull => replicas.tiles.set_full(true),
            Self::FolderFull(hub) => replicas.hub(hub).set_full(true),
            Self::CutBrokerFromPeers(broker) => {
                peers(broker).for_each(|peer| replicas.kafka.set_cut((broker, peer), true));
            }
            Self::CutBetweenBrokers(one, other) => replicas.kafka.set_cut((one, other), true),
            Self::BrokerFull(broker) => replicas.kafka.set_full(broker, true),
            Self::StepClock(hub, minutes) => replicas.hub(hub).set_clock(60 * minutes),
            Self::KillSequencingHub | Self::KillLogsLeader => unreachable!("settled before"),
            Self::CutFromPostgres(..)
            | Self::CutFromBrokers(..)
            | Self::CutFromBroker(..)
            | Self::CutFromTiles(..)
            | Self::CutFromClients(..) => self.cut(replicas, None),
        }
    }

    /// Ends it.
    pub(super) fn heal(self, replicas: &mut Replicas) {
        match self {
            Self::KillHub(hub) | Self::StopHub(hub) => replicas.spawn(hub),
            Self::KillAllHubs => (0..replicas.count()).for_each(|hub| replicas.spawn(hub)),
            Self::PauseHub(hub) => replicas.hub(hub).signal("CONT"),
            Self::KillBroker(broker) => replicas.kafka.restart(broker),
            Self::PauseBroker(broker) => replicas.kafka.resume(broker),
            Self::KillPostgres => replicas.postgres.restart(),
            Self::PausePostgres => replicas.postgres.go_on(),
            Self::KillHubAndBroker(hub, broker) => {
                replicas.spawn(hub);
                replicas.kafka.restart(broker);
            }
            Self::TilesFull => replicas.tiles.set_full(false),
            Self::FolderFull(hub) => replicas.hub(hub).set_full(false),
            Self::CutBrokerFromPeers(broker) => {
                peers(broker).for_each(|peer| replicas.kafka.set_cut((broker, peer), false));
            }
            Self::CutBetweenBrokers(one, other) => replicas.kafka.set_cut((one, other), false),
            Self::BrokerFull(broker) => {
                replicas.kafka.set_full(broker, false);
                replicas.kafka.kill(broker);
                replicas.kafka.restart(broker);
            }
            Self::StepClock(hub, _) => replicas.hub(hub).set_clock(0),
            Self::KillSequencingHub | Self::KillLogsLeader => unreachable!("settled before"),
            Self::CutFromPostgres(..)
            | Self::CutFromBrokers(..)
            | Self::CutFromBroker(..)
            | Self::CutFromTiles(..)
            | Self::CutFromClients(..) => self.cut(replicas, Some(Way::Open)),
        }
    }

    fn cut(self, replicas: &Replicas, opened: Option<Way>) {
        let set = |way: Way| opened.unwrap_or(way);
        match self {
            Self::CutFromPostgres(hub, way) => replicas.hub(hub).to_postgres.set(set(way)),
            Self::CutFromBrokers(hub, way) => replicas.hub(hub).to_brokers(set(way)),
            Self::CutFromBroker(hub, broker, way) => {
                replicas.hub(hub).to_brokers[broker - 1].set(set(way));
            }
            Self::CutFromTiles(hub, way) => replicas.hub(hub).to_tiles.set(set(way)),
            Self::CutFromClients(hub, way) => replicas.hub(hub).from_clients(set(way)),
            _ => unreachable!("not a cut"),
        }
    }
}

/// The other brokers of three.
fn peers(broker: usize) -> impl Iterator<Item = usize> {
    (1..=3).filter(move |id| *id != broker)
}
