//! What the peers of the interoperability tests share: their command line, their output and their trust.
//!
//! Each prints one line per event on standard output, for a test to read, and logs to standard error (RUST_LOG).
use std::{collections::HashMap, fmt::Display, str::FromStr};

use iroh::SecretKey;
use iroh_relay::tls::CaTlsConfig;
use rustls::pki_types::{pem::PemObject, CertificateDer};

/// Anything that ends the program; `fail` prints it as one ERROR line.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T> = std::result::Result<T, Error>;

/// Prints one event line. Standard output is line-buffered also when it is a file, so a test sees it at once.
#[macro_export]
macro_rules! say {
    ($($arguments:tt)*) => { println!($($arguments)*) };
}

/// `[MODE] --name value --flag ...`, as the other peers of the tests take it.
pub struct Options {
    pub mode: String,
    values: HashMap<String, String>,
}

impl Options {
    /// `usage` is what `--help` prints.
    pub fn parse(usage: &str) -> Self {
        let mut words = std::env::args().skip(1).peekable();
        let mut options = Options {
            mode: String::new(),
            values: HashMap::new(),
        };
        if words.peek().is_some_and(|word| !word.starts_with("--")) {
            options.mode = words.next().unwrap_or_default();
        }
        while let Some(word) = words.next() {
            let name = word.trim_start_matches("--").to_string();
            let is_flag = words.peek().is_none_or(|next| next.starts_with("--"));
            let value = if is_flag {
                String::new()
            } else {
                words.next().unwrap_or_default()
            };
            options.values.insert(name, value);
        }
        if options.has("help") {
            println!("{usage}");
            std::process::exit(0);
        }
        options
    }

    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    pub fn text(&self, name: &str) -> Result<&str> {
        Ok(self
            .values
            .get(name)
            .ok_or(format!("--{name} is missing"))?)
    }

    /// The value of a mandatory option.
    pub fn get<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T> {
        let text = self.text(name)?;
        text.parse()
            .map_err(|error| format!("--{name}: invalid value '{text}': {error}").into())
    }

    pub fn optional<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>> {
        self.has(name).then(|| self.get(name)).transpose()
    }

    /// The endpoint's secret key: `--seed` in hexadecimal, or a new one.
    pub fn secret_key(&self) -> Result<SecretKey> {
        Ok(self.optional("seed")?.unwrap_or_else(SecretKey::generate))
    }

    /// Trusts only the certificate that the relay wrote to the file `--ca`.
    pub fn roots(&self) -> Result<CaTlsConfig> {
        let path = self.text("ca")?;
        let certificate =
            CertificateDer::from_pem_file(path).map_err(|error| format!("--ca {path}: {error}"))?;
        Ok(CaTlsConfig::custom_roots([certificate]))
    }

    /// The configuration of TLS connections to the relay.
    pub fn relay_tls(&self) -> Result<rustls::ClientConfig> {
        Ok(self
            .roots()?
            .client_config(iroh_relay::tls::default_provider())?)
    }
}

/// Runs `program` to its end; prints its error, without a backtrace, and exits.
pub fn main(program: impl std::future::Future<Output = Result<()>>) -> ! {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Runtime::new().expect("the runtime starts");
    let status = match runtime.block_on(program) {
        Ok(()) => 0,
        Err(error) => {
            say!(
                "ERROR {}",
                error.to_string().lines().next().unwrap_or_default()
            );
            1
        }
    };
    std::process::exit(status)
}

/// Resolves when the test asks the program to end.
pub async fn stop_requested() {
    let mut signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .expect("SIGTERM is catchable");
    signal.recv().await;
}
