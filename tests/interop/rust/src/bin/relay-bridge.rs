//! The relay path of an endpoint that does not speak the relay protocol itself: a UDP port on loopback for each peer.
//! What the endpoint sends to that port goes through the relay to the peer; what the peer sends through the relay
//! comes from that port. To the endpoint's QUIC core the port's address is the relay path.
use std::{collections::HashMap, net::SocketAddr, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use culvert_interop::{say, stop_requested, Options, Result};
use iroh::{EndpointId, RelayUrl};
use iroh_relay::{
    client::{Client, ClientBuilder},
    protos::relay::{ClientToRelayMsg, Datagrams, RelayToClientMsg},
};
use n0_future::{SinkExt, StreamExt};
use tokio::{net::UdpSocket, sync::mpsc};

const USAGE: &str = "\
relay-bridge --relay URL --ca FILE --seed HEX --peer ID|any --listen IP:PORT --target IP:PORT

Connects to the relay as the endpoint with the secret key --seed, whose QUIC socket is --target.
--listen is the port of the peer; with `any`, of the first peer that sends something, and each further peer gets a
free port. Prints
  PEER ID IP:PORT   the port of a peer
  READY             connected to the relay (again after each reconnection)";

/// Longer than any UDP payload that goes through a relay.
const MAX_DATAGRAM: usize = 65536;
const RECONNECT_INTERVAL: Duration = Duration::from_millis(200);
/// What the endpoint sends while the relay is unreachable is dropped beyond this many datagrams.
const QUEUE_LENGTH: usize = 512;

type ToRelay = (EndpointId, Bytes);

/// The peers and their ports.
struct Bridge {
    target: SocketAddr,
    /// The port for the next new peer.
    listen: SocketAddr,
    only: Option<EndpointId>,
    ports: HashMap<EndpointId, Arc<UdpSocket>>,
    to_relay: mpsc::Sender<ToRelay>,
}

impl Bridge {
    async fn port_of(&mut self, peer: EndpointId) -> Result<Arc<UdpSocket>> {
        if let Some(port) = self.ports.get(&peer) {
            return Ok(port.clone());
        }
        let port = UdpSocket::bind(self.listen)
            .await
            .map_err(|error| format!("cannot listen on {}: {error}", self.listen))?;
        let port = Arc::new(port);
        self.listen.set_port(0);
        say!("PEER {peer} {}", port.local_addr()?);
        self.ports.insert(peer, port.clone());
        tokio::spawn(read_port(port.clone(), peer, self.to_relay.clone()));
        Ok(port)
    }

    /// Passes on what came through the relay, one UDP datagram for each QUIC datagram of a batch.
    async fn deliver(&mut self, peer: EndpointId, datagrams: Datagrams) -> Result<()> {
        if self.only.is_some_and(|only| only != peer) {
            return Ok(());
        }
        let port = self.port_of(peer).await?;
        let size = datagrams
            .segment_size
            .map_or(MAX_DATAGRAM, |size| usize::from(size.get()));
        for datagram in datagrams.contents.chunks(size) {
            // An endpoint that is not there yet loses datagrams, as on any network.
            let _ = port.send_to(datagram, self.target).await;
        }
        Ok(())
    }

    /// One connection to the relay, to its end.
    async fn run(
        &mut self,
        mut relay: Client,
        outgoing: &mut mpsc::Receiver<ToRelay>,
    ) -> Result<()> {
        loop {
            tokio::select! {
                Some((peer, data)) = outgoing.recv() => {
                    relay.send(ClientToRelayMsg::Datagrams { dst_endpoint_id: peer, datagrams: Datagrams::from(data) }).await?;
                }
                message = relay.next() => match message.ok_or("the relay closed the connection")?? {
                    RelayToClientMsg::Datagrams { remote_endpoint_id, datagrams } => {
                        self.deliver(remote_endpoint_id, datagrams).await?;
                    }
                    RelayToClientMsg::Ping(payload) => relay.send(ClientToRelayMsg::Pong(payload)).await?,
                    RelayToClientMsg::Status(status) => say!("STATUS {status}"),
                    RelayToClientMsg::EndpointGone(peer) => say!("GONE {peer}"),
                    _ => {}
                },
            }
        }
    }
}

async fn read_port(port: Arc<UdpSocket>, peer: EndpointId, to_relay: mpsc::Sender<ToRelay>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        // An error is that of an earlier send_to, to an endpoint that is not there.
        let Ok((size, _)) = port.recv_from(&mut buffer).await else {
            continue;
        };
        // A full queue drops, as a congested link does.
        let _ = to_relay.try_send((peer, Bytes::copy_from_slice(&buffer[..size])));
    }
}

async fn program() -> Result<()> {
    let options = Options::parse(USAGE);
    let only = match options.text("peer")? {
        "any" => None,
        text => Some(EndpointId::from_str(text)?),
    };
    let client = ClientBuilder::new(
        options.get::<RelayUrl>("relay")?,
        options.get("seed")?,
        iroh::dns::DnsResolver::new(),
    )
    .tls_client_config(options.relay_tls()?);
    let (to_relay, mut outgoing) = mpsc::channel(QUEUE_LENGTH);
    let mut bridge = Bridge {
        target: options.get("target")?,
        listen: options.get("listen")?,
        only,
        ports: HashMap::new(),
        to_relay,
    };
    if let Some(peer) = only {
        bridge.port_of(peer).await?;
    }
    let forward = async {
        loop {
            match client.connect().await {
                Ok(relay) => {
                    say!("READY");
                    if let Err(error) = bridge.run(relay, &mut outgoing).await {
                        say!("LOST {error}");
                    }
                }
                Err(error) => say!("UNREACHABLE {error}"),
            }
            tokio::time::sleep(RECONNECT_INTERVAL).await;
        }
    };
    tokio::select! {
        () = forward => {}
        () = stop_requested() => {}
    }
    Ok(())
}

fn main() {
    culvert_interop::main(program())
}
