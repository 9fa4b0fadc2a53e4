//! A tap between a hub and its broker: passes every byte on, and notes what the broker is asked.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// API key and version of each request of a connection, in order.
pub type Asked = Vec<(i16, i16)>;

/// What is asked over each connection, in the order in which they were opened.
#[derive(Clone, Default)]
pub struct Watched(Arc<Mutex<Vec<Asked>>>);

impl Watched {
    /// Starts to pass connections on to a port of this machine; the port to connect to. Its threads end with the process.
    pub(crate) fn start(self, port: u16) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for client in listener.incoming() {
                let watched = self.clone();
                // A connection that breaks is its ends' affair: both notice it themselves.
                thread::spawn(move || client.and_then(|client| watched.pass(client, port)).ok());
            }
        });
        own
    }

    /// How many connections there have been.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.lock().len()
    }

    /// What was asked over the connections from the `first` on.
    #[must_use]
    pub fn asked(&self, first: usize) -> Vec<Asked> {
        self.lock().iter().skip(first).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self, mut client: TcpStream, port: u16) -> io::Result<()> {
        let mut broker = TcpStream::connect(("127.0.0.1", port))?;
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let (mut answers, mut back) = (broker.try_clone()?, client.try_clone()?);
        thread::spawn(move || {
            io::copy(&mut answers, &mut back).ok();
            back.shutdown(Shutdown::Both).ok();
        });
        let at = {
            let mut connections = self.lock();
            connections.push(Vec::new());
            connections.len() - 1
        };
        let passed = self.requests(&mut client, &mut broker, at);
        broker.shutdown(Shutdown::Both).ok();
        passed
    }

    fn requests(&self, client: &mut TcpStream, broker: &mut TcpStream, at: usize) -> io::Result<()> {
        loop {
            let mut length = [0; 4];
            client.read_exact(&mut length)?;
            let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
            client.read_exact(&mut frame)?;
            let number = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
            self.lock()[at].push((number(0), number(2)));
            broker.write_all(&[&length[..], &frame].concat())?;
        }
    }
}
