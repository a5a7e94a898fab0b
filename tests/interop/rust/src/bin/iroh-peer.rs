//! Stock iroh as an echo server or its client, with a relay and NAT traversal. Prints the lines of peer.cc and iroh.js.
//! It uses no public server: the only relay is the one given, and addresses come from the command line.
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use culvert_interop::{say, stop_requested, Options, Result};
use iroh::{
    endpoint::{
        presets, Connection, Incoming, PathEvent, PathEventStream, PathList, RecvStream, SendStream,
    },
    Endpoint, EndpointAddr, EndpointId, RelayMode, RelayUrl, TransportAddr, Watcher,
};
use n0_future::StreamExt;

const USAGE: &str = "\
iroh-peer serve   --alpn A [--bind IP:PORT] [--seed HEX] [--relay URL --ca FILE] [--candidates A,A] [--retry]
iroh-peer connect --alpn A --id KEY --addr ADDR[,ADDR] [--bind IP:PORT] [--seed HEX] [--relay URL --ca FILE]
                  [--candidates A,A] [--bytes N] [--datagrams N] [--pings N]

ADDR is IP:PORT or the https URL of the server's relay. --relay is this endpoint's own relay, --ca its certificate.
--candidates are addresses (IP:PORT) it offers for hole punching beside those it finds.
Prints, beside the lines of interop_peer:
  ONLINE URL                                  the endpoint is connected to its relay
  CANDIDATES IP:PORT,IP:PORT                  the addresses it believes it has, each time they change
  PATHS selected=ADDR open=ID@ADDR,ID@ADDR    the paths of a connection, each time they change
  PATH ID open|closed ADDR                    each path but the first that opens or closes
  SLOWEST MS                                  the longest round trip of --pings";

const PING_INTERVAL: Duration = Duration::from_millis(100);

async fn bind(options: &Options) -> Result<Endpoint> {
    let mut builder = Endpoint::builder(presets::Minimal).secret_key(options.secret_key()?);
    builder = match options.optional::<RelayUrl>("relay")? {
        Some(url) => builder
            .relay_mode(RelayMode::custom([url]))
            .ca_tls_config(options.roots()?),
        None => builder.relay_mode(RelayMode::Disabled),
    };
    if options.has("bind") {
        builder = builder.bind_addr(options.get::<SocketAddr>("bind")?)?;
    }
    if options.mode == "serve" {
        builder = builder.alpns(vec![options.text("alpn")?.into()]);
    }
    let endpoint = builder.bind().await?;
    say!("ID {}", endpoint.id());
    for address in endpoint.bound_sockets() {
        if address.is_ipv4() {
            say!("ADDR {address}");
        }
    }
    if options.has("candidates") {
        for text in options.text("candidates")?.split(',') {
            endpoint.add_external_addr(text.parse()?).await;
        }
    }
    tokio::spawn(say_own_addresses(endpoint.clone()));
    Ok(endpoint)
}

async fn say_own_addresses(endpoint: Endpoint) {
    let mut changes = endpoint.watch_addr().stream();
    let mut last = BTreeSet::new();
    while let Some(address) = changes.next().await {
        let own: BTreeSet<SocketAddr> = address.ip_addrs().copied().collect();
        if own != last {
            say!("CANDIDATES {}", join(own.iter()));
            last = own;
        }
    }
}

fn join<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(",")
}

fn describe(paths: &PathList<'_>) -> String {
    let selected = paths.iter().find(|path| path.is_selected());
    let selected = selected.map_or("none".to_string(), |path| path.remote_addr().to_string());
    let open = join(
        paths
            .iter()
            .map(|path| format!("{}@{}", path.id(), path.remote_addr())),
    );
    format!("selected={selected} open={open}")
}

async fn say_paths(connection: Connection) {
    let mut changes = connection.paths_stream();
    let mut last = String::new();
    while let Some(paths) = changes.next().await {
        let now = describe(&paths);
        if now != last {
            say!("PATHS {now}");
            last = now;
        }
    }
}

/// PATHS shows states, and skips one that lasted too short; this shows each path.
async fn say_path_events(mut events: PathEventStream) {
    while let Some(event) = events.next().await {
        match event {
            PathEvent::Opened {
                id, remote_addr, ..
            } => say!("PATH {id} open {remote_addr}"),
            PathEvent::Closed {
                id, remote_addr, ..
            } => say!("PATH {id} closed {remote_addr}"),
            _ => {}
        }
    }
}

fn watch(connection: &Connection) {
    tokio::spawn(say_path_events(connection.path_events()));
    tokio::spawn(say_paths(connection.clone()));
    let closing = connection.clone();
    tokio::spawn(async move { say!("CLOSED {}", closing.closed().await) });
}

async fn echo_stream(mut send: SendStream, mut receive: RecvStream) {
    let echo = async {
        let mut total = 0;
        while let Some(chunk) = receive.read_chunk(65536).await? {
            total += chunk.len();
            send.write_chunk(chunk).await?;
        }
        send.finish()?;
        Result::Ok(total)
    };
    match echo.await {
        Ok(total) => say!("STREAM echoed {total}"),
        Err(error) => say!("STREAM {error}"),
    }
}

async fn echo_datagrams(connection: Connection) {
    while let Ok(datagram) = connection.read_datagram().await {
        // A datagram that does not fit is lost, as any may be.
        let _ = connection.send_datagram(datagram);
    }
}

async fn serve_one(incoming: Incoming, retry: bool) -> Result<()> {
    if retry && !incoming.remote_addr_validated() {
        say!("RETRY");
        return incoming
            .retry()
            .map_err(|_| "the address was already validated".into());
    }
    let connection = incoming.await?;
    say!(
        "ACCEPTED {} {}",
        connection.remote_id(),
        String::from_utf8_lossy(connection.alpn())
    );
    watch(&connection);
    tokio::spawn(echo_datagrams(connection.clone()));
    loop {
        let (send, receive) = connection.accept_bi().await?;
        tokio::spawn(echo_stream(send, receive));
    }
}

async fn serve(endpoint: &Endpoint, options: &Options) -> Result<()> {
    if options.has("relay") {
        endpoint.online().await;
        say!("ONLINE {}", options.text("relay")?);
    }
    let retry = options.has("retry");
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            if let Err(error) = serve_one(incoming, retry).await {
                say!("ENDED {error}");
            }
        });
    }
    Ok(())
}

async fn echo_bytes(connection: &Connection, size: usize) -> Result<()> {
    let (mut send, mut receive) = connection.open_bi().await?;
    let sent: Vec<u8> = (0..size).map(|at| ((at * 31) >> 4) as u8).collect();
    let copy = sent.clone();
    let writing = tokio::spawn(async move {
        send.write_all(&copy).await?;
        send.finish()?;
        Result::Ok(())
    });
    let got = receive.read_to_end(size + 1).await?;
    writing.await??;
    if got != sent {
        return Err(format!("echo of {size} bytes: {} came back, or others", got.len()).into());
    }
    say!("ECHO {size}");
    Ok(())
}

async fn echo_some_datagrams(connection: &Connection, count: usize) -> Result<()> {
    for number in 0..count {
        let text = format!("datagram {number}");
        connection.send_datagram(text.clone().into())?;
        let answer = connection.read_datagram().await?;
        if answer != text {
            return Err(format!("datagram: sent {text}, got {answer:?}").into());
        }
    }
    say!(
        "DATAGRAMS {count} max {}",
        connection.max_datagram_size().unwrap_or(0)
    );
    Ok(())
}

/// One small message every PING_INTERVAL on one stream, each echoed before the next, until `count` or SIGTERM.
async fn ping(connection: &Connection, count: usize) -> Result<()> {
    let (mut send, mut receive) = connection.open_bi().await?;
    let stop = stop_requested();
    tokio::pin!(stop);
    let mut slowest = Duration::ZERO;
    let mut done = 0;
    while done < count {
        let text = format!("ping {done:05}");
        let mut answer = vec![0; text.len()];
        let started = Instant::now();
        send.write_all(text.as_bytes()).await?;
        receive.read_exact(&mut answer).await?;
        slowest = slowest.max(started.elapsed());
        if answer != text.as_bytes() {
            return Err(format!("sent {text}, got {}", String::from_utf8_lossy(&answer)).into());
        }
        if done % 10 == 0 {
            say!("PING {done}");
        }
        done += 1;
        tokio::select! {
            _ = tokio::time::sleep(PING_INTERVAL) => {}
            _ = &mut stop => break,
        }
    }
    send.finish()?;
    receive.read_to_end(0).await?;
    say!("SLOWEST {}", slowest.as_millis());
    say!("PINGS {done}");
    Ok(())
}

fn parse_address(text: &str) -> Result<TransportAddr> {
    if text.starts_with("https://") {
        return Ok(TransportAddr::Relay(text.parse()?));
    }
    let ip: SocketAddr = text
        .parse()
        .map_err(|error| format!("--addr: invalid address '{text}': {error}"))?;
    Ok(TransportAddr::Ip(ip))
}

async fn connect(endpoint: &Endpoint, options: &Options) -> Result<()> {
    let mut server = EndpointAddr::new(options.get::<EndpointId>("id")?);
    for text in options.text("addr")?.split(',') {
        server.addrs.insert(parse_address(text)?);
    }
    let connection = endpoint
        .connect(server, options.text("alpn")?.as_bytes())
        .await?;
    say!(
        "CONNECTED {} {}",
        connection.remote_id(),
        String::from_utf8_lossy(connection.alpn())
    );
    watch(&connection);
    if let Some(size) = options.optional("bytes")? {
        echo_bytes(&connection, size).await?;
    }
    if let Some(count) = options.optional("datagrams")? {
        echo_some_datagrams(&connection, count).await?;
    }
    if let Some(count) = options.optional("pings")? {
        ping(&connection, count).await?;
    }
    say!("OK");
    connection.close(7u32.into(), b"bye");
    Ok(())
}

async fn program() -> Result<()> {
    let options = Options::parse(USAGE);
    let endpoint = bind(&options).await?;
    match options.mode.as_str() {
        "serve" => tokio::select! {
            result = serve(&endpoint, &options) => result?,
            _ = stop_requested() => {}
        },
        "connect" => connect(&endpoint, &options).await?,
        mode => return Err(format!("unknown mode '{mode}' (expected serve or connect)").into()),
    }
    endpoint.close().await;
    Ok(())
}

fn main() {
    culvert_interop::main(program())
}
