//! Asks the relay's address discovery which address it sees. --bind is the local socket, to compare with the answer.
use std::net::SocketAddr;

use culvert_interop::{say, Options, Result};
use iroh_relay::quic::{QuicClient, QUIC_ADDR_DISC_CLOSE_CODE, QUIC_ADDR_DISC_CLOSE_REASON};
use n0_future::StreamExt;

const USAGE: &str = "\
qad-probe --server IP:PORT --ca FILE [--bind IP:PORT]

Prints OBSERVED IP:PORT.";

async fn program() -> Result<()> {
    let options = Options::parse(USAGE);
    let server: SocketAddr = options.get("server")?;
    let local = options
        .optional("bind")?
        .unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
    let endpoint = noq::Endpoint::client(local)?;
    let client = QuicClient::new(endpoint.clone(), options.relay_tls()?);
    let connection = client.create_conn(server, &server.ip().to_string()).await?;
    let observed = connection
        .observed_external_addr()
        .next()
        .await
        .ok_or("the relay reported no address")?;
    say!(
        "OBSERVED {}",
        SocketAddr::new(observed.ip().to_canonical(), observed.port())
    );
    connection.close(QUIC_ADDR_DISC_CLOSE_CODE, QUIC_ADDR_DISC_CLOSE_REASON);
    endpoint.wait_idle().await;
    Ok(())
}

fn main() {
    culvert_interop::main(program())
}
