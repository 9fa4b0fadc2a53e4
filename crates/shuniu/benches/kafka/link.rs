//! How fast a client reads over a network that is slower than the machine: straight from the broker and through the hub.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;

use crate::register::PLAIN;
use crate::{Scale, World, figure, median, read};

const MEGABITS: [u32; 2] = [100, 1_000];
/// What a relay passes on at once.
const CHUNK_BYTES: usize = 16 << 10;

pub(crate) fn run(world: &mut World, scale: &Scale) {
    let link = Link::default();
    let (listen, told) = world.kafka.ways(0)[0];
    link.pass(told, listen.port());
    let door = world.hub.kafka_port();
    let relay = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    link.pass(relay, door);
    // Clients are told the relay's port.
    world.hub.configure(&format!("\nport = {door}\n"), &format!("\nport = {relay}\n"));
    world.hub.stop();
    world.hub.restart();
    let at = |mut client: ClientConfig, port: u16| {
        client.set("bootstrap.servers", format!("localhost:{port}"));
        client
    };
    let mut clients = [at(world.kafka.client_tls(), told), at(world.hub.client("bank-supervisor"), relay)];
    for megabits in MEGABITS {
        link.set(megabits);
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..scale.passes.min(3) {
            for (client, rates) in clients.iter_mut().zip(&mut rates) {
                let read = read::whole(client, PLAIN, &[]);
                rates.push(read.covered as f64 / read.took.as_secs_f64());
            }
        }
        let [direct, hub] = rates.map(median);
        println!("over {megabits} Mbit/s: {direct:.0} records/s from the broker, {hub:.0} from the hub");
        let ratio = hub / direct;
        let name = format!("kafka-delivery-whole-to-direct-over-{megabits}-mbit");
        figure(&name, ratio, "times", 0.95, ratio >= 0.95);
    }
}

/// A network of so many bytes a second towards the client.
#[derive(Clone, Default)]
struct Link(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    bytes_per_second: f64,
    /// When what was passed on so far is through.
    free_at: Option<Instant>,
}

impl Link {
    fn set(&self, megabits: u32) {
        self.0.lock().unwrap().bytes_per_second = f64::from(megabits) * 1e6 / 8.0;
    }

    /// Passes connections on from one port to another. Its threads end with the process.
    fn pass(&self, listen: u16, to: u16) {
        let listener = TcpListener::bind(("127.0.0.1", listen)).unwrap();
        let link = self.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                }
                let (asking, answering) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || copy(asking, server, |_| {}));
                let link = link.clone();
                thread::spawn(move || copy(answering, client, |bytes| link.wait(bytes)));
            }
        });
    }

    /// Until so many bytes are through.
    fn wait(&self, bytes: usize) {
        let mut state = self.0.lock().unwrap();
        let now = Instant::now();
        let takes = Duration::from_secs_f64(bytes as f64 / state.bytes_per_second.max(1.0));
        let through = state.free_at.map_or(now, |free_at| free_at.max(now)) + takes;
        state.free_at = Some(through);
        drop(state);
        thread::sleep(through.saturating_duration_since(Instant::now()));
    }
}

/// A connection that breaks is its ends' affair: both notice it themselves.
fn copy(mut from: TcpStream, mut to: TcpStream, before: impl Fn(usize)) {
    let mut buffer = [0; CHUNK_BYTES];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        before(read);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Both).ok();
    from.shutdown(Shutdown::Both).ok();
}
