//! TCP relays that can be cut: what stands between clients, hubs, brokers, database and object store in the tests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;

const CONNECT_MAX: Duration = Duration::from_secs(1);
const BUFFER_BYTES: usize = 64 << 10;

/// What a link does with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Passes them on.
    Open,
    /// Keeps connections and passes nothing on, as a network that drops packets.
    Silent,
    /// Breaks connections and refuses new ones.
    Cut,
}

/// The way to one address, which can be cut. Cloned freely.
#[derive(Debug, Clone)]
pub struct Link {
    to: SocketAddr,
    way: Arc<watch::Sender<Way>>,
}

impl Link {
    /// An open way.
    #[must_use]
    pub fn to(to: SocketAddr) -> Self {
        Self { to, way: Arc::new(watch::Sender::new(Way::Open)) }
    }

    /// Changes what it does, for the connections that are there too.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

/// Listens, and passes each connection on over one of the links in turn: the next one that can be connected.
pub(crate) fn relay(runtime: &Handle, listen: SocketAddr, links: Vec<Link>) {
    let listener = runtime.block_on(TcpListener::bind(listen)).unwrap();
    let next = AtomicUsize::new(0);
    runtime.spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let first = next.fetch_add(1, Ordering::Relaxed);
            let links: Vec<Link> =
                (0..links.len()).map(|n| links[(first + n) % links.len()].clone()).collect();
            tokio::spawn(pass(client, links));
        }
    });
}

async fn pass(client: TcpStream, links: Vec<Link>) {
    for link in links {
        let mut way = link.way.subscribe();
        // A silent link takes the connection: nobody can tell that it leads nowhere.
        if *way.borrow() == Way::Cut || way.wait_for(|way| *way != Way::Silent).await.is_err() {
            continue;
        }
        let connected = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(link.to)).await;
        let Ok(Ok(server)) = connected else { continue };
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        // Whichever side ends, both do: none of the protocols here closes half a connection.
        tokio::select! {
            () = copy(from_client, to_server, way.clone()) => {}
            () = copy(from_server, to_client, way) => {}
        }
        return;
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: watch::Receiver<Way>) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            cut = way.wait_for(|way| *way == Way::Cut) => { drop(cut); return }
        };
        let Ok(read @ 1..) = read else { return };
        // Waits while the link is silent.
        if way.wait_for(|way| *way != Way::Silent).await.is_ok_and(|way| *way == Way::Cut) {
            return;
        }
        let written = tokio::select! {
            written = to.write_all(&buffer[..read]) => written,
            cut = way.wait_for(|way| *way == Way::Cut) => { drop(cut); return }
        };
        if written.is_err() {
            return;
        }
    }
}
