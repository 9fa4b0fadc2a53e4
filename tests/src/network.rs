//! A network for the brokers of a cluster: each has a namespace of its own on one bridge, so that the way between any two can
//! be cut while everybody else reaches both.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

/// Where frames go while a way is cut: nobody has this address.
const NOBODY: &str = "02:00:00:00:00:01";

/// Bridge `shuniuN` with the addresses 198.18.N.0/24, which are set aside for tests (RFC 2544).
pub(crate) struct Network {
    number: u8,
}

impl Network {
    /// Makes namespaces for the brokers 1 to `brokers`; `None` where that is not allowed.
    pub(crate) fn make(brokers: usize) -> Option<Self> {
        // A bridge that is there belongs to another run.
        let number = (0..=u8::MAX).find(|number| ip(&format!("link add shuniu{number} type bridge")))?;
        let network = Self { number };
        let bridge = network.bridge();
        let mut made = ip(&format!("addr add {}/24 dev {bridge}", network.address(254)))
            && ip(&format!("link set {bridge} up"));
        for id in 1..=brokers {
            let (name, address) = (network.namespace(id), network.address(id));
            made = made
                && ip(&format!("netns add {name}"))
                && ip(&format!("link add {name} type veth peer name eth0 netns {name}"))
                && ip(&format!("link set {name} master {bridge} up"))
                && ip(&format!("-n {name} addr add {address}/24 dev eth0"))
                && ip(&format!("-n {name} link set eth0 up"))
                && ip(&format!("-n {name} link set lo up"));
        }
        if !made || !network.is_open(brokers) {
            Command::new("sh").args(["-c", &network.removal(brokers)]).status().ok();
            return None;
        }
        Some(network)
    }

    /// Whether packets get from the first to the last: a machine's firewall may drop what goes over a bridge.
    fn is_open(&self, brokers: usize) -> bool {
        let mut knock = Command::new("timeout");
        // Nobody listens there. That is told at once, unless the packets are dropped.
        knock.args(["2", "bash", "-c", &format!("exec 3<>/dev/tcp/{}/9", self.address(brokers))]);
        let mut knock = self.within(1, &knock);
        knock.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        knock.status().is_ok_and(|status| status.code() != Some(124))
    }

    /// A broker's address.
    pub(crate) fn address(&self, id: usize) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.number, u8::try_from(id).unwrap())
    }

    /// The command in a broker's namespace.
    pub(crate) fn within(&self, id: usize, command: &Command) -> Command {
        let mut within = Command::new("nsenter");
        within.arg(format!("--net=/run/netns/{}", self.namespace(id)));
        within.arg(command.get_program()).args(command.get_args());
        within
    }

    /// Drops everything between two brokers in silence, or lets it through again.
    pub(crate) fn set_cut(&self, between: (usize, usize), cut: bool) {
        for (from, to) in [between, (between.1, between.0)] {
            let (name, address) = (self.namespace(from), self.address(to));
            let done = if cut {
                ip(&format!("-n {name} neigh replace {address} lladdr {NOBODY} dev eth0 nud permanent"))
            } else {
                ip(&format!("-n {name} neigh del {address} dev eth0"))
            };
            assert!(done, "the way from broker {from} to {to}");
        }
    }

    /// A shell command that removes all of it.
    pub(crate) fn removal(&self, brokers: usize) -> String {
        let names: Vec<String> = (1..=brokers).map(|id| self.namespace(id)).collect();
        format!(
            "for name in {}; do ip netns del $name; done 2>/dev/null; ip link del {} 2>/dev/null",
            names.join(" "),
            self.bridge()
        )
    }

    fn bridge(&self) -> String {
        format!("shuniu{}", self.number)
    }

    fn namespace(&self, id: usize) -> String {
        format!("shuniu{}-{id}", self.number)
    }
}

/// Runs iproute2; whether it did what it was told.
fn ip(arguments: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(arguments.split(' ')).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
