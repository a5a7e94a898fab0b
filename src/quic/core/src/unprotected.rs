//! Version Negotiation and Retry: packets that carry no proof of their sender (RFC 9000, 17.2.1 and 17.2.5).
//!
//! They are for clients whose handshake has begun. noq-proto 1.4 takes them everywhere: on a path above 0 they panic if
//! the network marked them with ECN, and a Retry with a large token leaves no room in the client's Initial packets.

/// Of a token that a client sends in each Initial packet, which has 1200 bytes; noq does not look whether its frames
/// fit beside it. Servers use less than 256.
pub const MAX_TOKEN: usize = 512;

const RETRY_TAG: usize = 16;

#[derive(Debug, PartialEq, Eq)]
pub enum Unprotected {
    VersionNegotiation,
    Retry { token_size: usize },
}

/// The first packet in the datagram that carries no proof of its sender.
pub fn find(datagram: &[u8]) -> Option<Unprotected> {
    let mut rest = datagram;
    loop {
        let (&first, after) = rest.split_first()?;
        if first & 0x80 == 0 {
            return None;
        }
        let (version, after) = after.split_at_checked(4)?;
        let after = behind_id(behind_id(after)?)?;
        if version == [0; 4] {
            return Some(Unprotected::VersionNegotiation);
        }
        const INITIAL: u8 = 0;
        const RETRY: u8 = 3;
        let after = match first >> 4 & 3 {
            RETRY => return Some(Unprotected::Retry { token_size: after.len().saturating_sub(RETRY_TAG) }),
            INITIAL => behind_sized(after)?,
            _ => after,
        };
        rest = behind_sized(after)?;
    }
}

fn behind_id(bytes: &[u8]) -> Option<&[u8]> {
    let (&size, after) = bytes.split_first()?;
    after.get(usize::from(size)..)
}

/// Behind a variable-length integer (RFC 9000, 16) and as many bytes.
fn behind_sized(bytes: &[u8]) -> Option<&[u8]> {
    let first = *bytes.first()?;
    let (number, after) = bytes.split_at_checked(1 << (first >> 6))?;
    let size = number[1..].iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte));
    after.get(usize::try_from(size).ok()?..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(first: u8, version: u8, rest: &[u8]) -> Vec<u8> {
        [&[first, 0, 0, 0, version, 2, 7, 7, 1, 9], rest].concat()
    }

    #[test]
    fn unprotected_packets_are_found_behind_others() {
        let initial = header(0xc0, 1, &[1, 5, 0x40, 3, 1, 2, 3]);
        let handshake = header(0xe0, 1, &[2, 1, 2]);
        let retry = header(0xf0, 1, &[4; 20]);
        let versions = header(0x80, 0, &[0, 0, 0, 1]);
        assert_eq!(find(&[initial.clone(), handshake.clone()].concat()), None);
        assert_eq!(find(&retry), Some(Unprotected::Retry { token_size: 4 }));
        assert_eq!(find(&versions), Some(Unprotected::VersionNegotiation));
        for packet in [retry, versions] {
            let coalesced = [initial.clone(), handshake.clone(), packet.clone()].concat();
            assert_eq!(find(&coalesced), find(&packet));
        }
    }

    #[test]
    fn malformed_datagrams_have_none() {
        let whole = header(0xc0, 1, &[1, 5, 0x40, 3, 1, 2, 3]);
        for size in 0..whole.len() {
            assert_eq!(find(&whole[..size]), None);
        }
        assert_eq!(find(&[0x40; 30]), None);
        assert_eq!(find(&header(0xc0, 1, &[0xff; 30])), None);
    }
}
