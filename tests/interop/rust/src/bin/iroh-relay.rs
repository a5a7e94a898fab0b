//! The real iroh relay with a self-signed certificate: HTTP on 80, HTTPS on 443, address discovery on 7842/udp.
use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use culvert_interop::{say, stop_requested, Options, Result};
use iroh_relay::{
    defaults::{DEFAULT_HTTPS_PORT, DEFAULT_HTTP_PORT, DEFAULT_RELAY_QUIC_PORT},
    server::{CertConfig, QuicConfig, RelayConfig, Server, ServerConfig, TlsConfig},
};
use rustls::pki_types::{pem::PemObject, CertificateDer, PrivateKeyDer};

const USAGE: &str = "\
iroh-relay --ip IP --certificate FILE

FILE holds the certificate, for clients to trust, and its key, both as PEM. Without that file it makes one; a relay that
starts again has the same certificate. Prints READY and its URL.";

fn make_certificate(ip: IpAddr, path: &str) -> Result<()> {
    let made = rcgen::generate_simple_self_signed(vec![ip.to_string()])?;
    let pem = made.cert.pem() + &made.signing_key.serialize_pem();
    Ok(std::fs::write(path, pem)?)
}

fn tls_config(ip: IpAddr, path: &str) -> Result<rustls::ServerConfig> {
    if !Path::new(path).exists() {
        make_certificate(ip, path).map_err(|error| format!("--certificate {path}: {error}"))?;
    }
    let certificate = CertificateDer::from_pem_file(path)?;
    let key = PrivateKeyDer::from_pem_file(path)?;
    let config = rustls::ServerConfig::builder_with_provider(iroh_relay::tls::default_provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(config)
}

async fn program() -> Result<()> {
    let options = Options::parse(USAGE);
    let ip: IpAddr = options.get("ip")?;
    let tls = tls_config(ip, options.text("certificate")?)?;

    let mut relay = RelayConfig::new(SocketAddr::new(ip, DEFAULT_HTTP_PORT));
    relay.tls = Some(TlsConfig::new(
        SocketAddr::new(ip, DEFAULT_HTTPS_PORT),
        CertConfig::Manual {
            server_config: tls.clone(),
        },
    ));
    let mut quic = QuicConfig::new(SocketAddr::new(ip, DEFAULT_RELAY_QUIC_PORT));
    quic.server_config = Some(tls);
    let mut config = ServerConfig::default();
    config.relay = Some(relay);
    config.quic = Some(quic);

    let server = Server::spawn(config).await?;
    say!("READY https://{ip}/");
    stop_requested().await;
    server.shutdown().await?;
    Ok(())
}

fn main() {
    culvert_interop::main(program())
}
