//! What a compressed body says (RFC 9110, section 8.4).

use std::borrow::Cow;
use std::io::{self, Read};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use super::exchange::MAX_KEPT_BYTES;
use super::failure::Failure;
use super::headers::Headers;
use crate::harness::model::ErrorKind;

/// What a body of zstd may have its decoder remember (RFC 9659).
const MAX_ZSTD_WINDOW_BYTES: u64 = 8 << 20;

/// The body of an answer with these headers, decompressed.
pub(super) fn decoded(headers: &Headers, body: &Bytes) -> Result<Bytes, Failure> {
    // An answer to HEAD names the coding of the body that it doesn't have.
    if body.is_empty() || !headers.say_encoding() {
        return Ok(body.clone());
    }
    let coding = coding(headers);
    let decompressed = match &*coding {
        "" => return Ok(body.clone()),
        "gzip" | "x-gzip" => gzip(body),
        "br" => brotli(body),
        "zstd" => zstd(body),
        other => {
            let message =
                format!("the body has the encoding `{other}`; gzip, br and zstd can be read");
            return Err(Failure::new(ErrorKind::Protocol, message));
        }
    };
    let decompressed = decompressed.map_err(|error| {
        Failure::new(
            ErrorKind::Protocol,
            format!("the body is not {coding}: {error}"),
        )
    })?;
    if decompressed.len() > MAX_KEPT_BYTES {
        let message = format!(
            "the body has more than the {MAX_KEPT_BYTES} bytes, decompressed, that can be checked"
        );
        return Err(Failure::new(ErrorKind::Protocol, message));
    }
    Ok(decompressed.into())
}

/// Whether the body of an answer with these headers is compressed, in whatever way.
pub(super) fn is_encoded(headers: &Headers) -> bool {
    headers.say_encoding() && !coding(headers).is_empty()
}

/// The name of the coding, in small letters; empty where there is none. Several are given as they
/// were said.
fn coding(headers: &HeaderMap) -> String {
    let names: Vec<_> = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    let names: Vec<_> = names
        .iter()
        .flat_map(|names: &Cow<'_, str>| names.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !matches!(name.as_str(), "" | "identity"))
        .collect();
    names.join(", ")
}

// All that follow stop at the first byte beyond what can be kept.

fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    MultiGzDecoder::new(body)
        .take(MAX_KEPT_BYTES as u64 + 1)
        .read_to_end(&mut out)?;
    Ok(out)
}

fn brotli(body: &[u8]) -> io::Result<Vec<u8>> {
    // Strictly RFC 7932: the extension for large windows would have up to a gigabyte remembered.
    let allocator = StandardAlloc::default;
    let mut state = BrotliState::new_strict(allocator(), allocator(), allocator());
    let mut out = Vec::new();
    let mut part = [0; 16 << 10];
    let (mut left, mut at, mut total) = (body.len(), 0, 0);
    loop {
        let (mut room, mut filled) = (part.len(), 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut at,
            body,
            &mut room,
            &mut filled,
            &mut part,
            &mut total,
            &mut state,
        );
        out.extend_from_slice(&part[..filled]);
        match result {
            _ if out.len() > MAX_KEPT_BYTES => return Ok(out),
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultSuccess if left == 0 => return Ok(out),
            BrotliResult::ResultSuccess => return Err(io::Error::other("more follows its end")),
            BrotliResult::NeedsMoreInput => return Err(io::ErrorKind::UnexpectedEof.into()),
            BrotliResult::ResultFailure => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// One frame after the other (RFC 8878, section 3.1).
fn zstd(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(MAX_ZSTD_WINDOW_BYTES);
    let mut left = body;
    while !left.is_empty() && out.len() <= MAX_KEPT_BYTES {
        match StreamingDecoder::new_with_decoder(&mut left, &mut decoder) {
            Ok(frame) => {
                let room = (MAX_KEPT_BYTES + 1 - out.len()) as u64;
                frame.take(room).read_to_end(&mut out)?;
            }
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                left = left
                    .get(length as usize..)
                    .ok_or(io::ErrorKind::UnexpectedEof)?;
            }
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    Ok(out)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http::HeaderValue;

    use super::*;

    /// `hello hello hello hello hello` by node's zlib.brotliCompressSync, and by zstd 1.5 (--no-check).
    const BROTLI: &[u8] = &[
        0x1b, 0x1c, 0x00, 0xf8, 0x8d, 0x94, 0x6e, 0xde, 0x44, 0x55, 0x86, 0x96, 0x6c, 0x20, 0x6f,
        0x41, 0x4f, 0x1c, 0x20, 0x71,
    ];
    const ZSTD: &[u8] = &[
        0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x65, 0x00, 0x00, 0x30, 0x68, 0x65, 0x6c, 0x6c, 0x6f,
        0x20, 0x01, 0x00, 0xa9, 0x4b, 0x11,
    ];
    /// So many zeros by the first of them.
    const BROTLI_ZEROS: &[u8] = &[
        0xcb, 0xff, 0xff, 0x3f, 0xf8, 0x27, 0x00, 0xe2, 0xb1, 0x40, 0x20, 0xf7, 0xfe, 0x8f, 0xff,
        0xff, 0x7f, 0xf0, 0x4f, 0x00, 0xc4, 0x61, 0x11, 0x80, 0xee, 0xfd, 0x1f, 0x00, 0x00, 0x02,
        0x00, 0x03,
    ];
    const ZEROS: usize = MAX_KEPT_BYTES + 1;
    const TEXT: &[u8] = b"hello hello hello hello hello";

    fn gzipped(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// A frame of zstd with blocks of one byte that is repeated (RFC 8878, section 3.1.1).
    fn zstd_zeros(blocks: usize) -> Vec<u8> {
        // The magic number, no flags, a window of a megabyte.
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 10 << 3];
        for block in 1..=blocks {
            let header = (ZSTD_BLOCK_BYTES << 3) | (1 << 1) | usize::from(block == blocks);
            frame.extend(&header.to_le_bytes()[..3]);
            frame.push(0);
        }
        frame
    }
    const ZSTD_BLOCK_BYTES: usize = 128 << 10;

    fn decode(encodings: &[&'static str], body: &[u8]) -> Result<Bytes, String> {
        let mut headers = HeaderMap::new();
        for encoding in encodings {
            headers.append(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        decoded(&headers.into(), &Bytes::copy_from_slice(body)).map_err(|failure| {
            assert_eq!(failure.kind, ErrorKind::Protocol);
            failure.message
        })
    }

    #[test]
    fn a_body_is_decompressed_by_its_encoding() {
        let check = |encodings: &[&'static str], body: &[u8], expected: &[u8]| {
            let found = decode(encodings, body);
            assert_eq!(found.as_deref(), Ok(expected), "{encodings:?}");
        };
        check(&[], TEXT, TEXT);
        check(&["identity"], TEXT, TEXT);
        check(&["gzip"], &gzipped(TEXT), TEXT);
        check(&["identity", ", X-GZip"], &gzipped(TEXT), TEXT);
        let twice = [gzipped(b"a"), gzipped(b"b")].concat();
        check(&["gzip"], &twice, b"ab");
        check(&["br"], BROTLI, TEXT);
        check(&["zstd"], ZSTD, TEXT);
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3], ZSTD].concat();
        check(
            &["zstd"],
            &[skipped.clone(), skipped].concat(),
            &[TEXT, TEXT].concat(),
        );
        // An answer to HEAD.
        check(&["br"], b"", b"");
    }

    #[test]
    fn what_is_not_what_it_says_fails() {
        let check = |encodings: &[&'static str], body: &[u8], expected: &str| {
            let error = decode(encodings, body).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        for (encoding, body) in [
            ("gzip", gzipped(TEXT)),
            ("br", BROTLI.to_vec()),
            ("zstd", ZSTD.to_vec()),
        ] {
            let wrong = format!("the body is not {encoding}");
            check(&[encoding], TEXT, &wrong);
            check(&[encoding], &body[..body.len() - 1], &wrong);
            check(&[encoding], &[&body, TEXT].concat(), &wrong);
        }
        check(&["compress"], TEXT, "the encoding `compress`");
        check(&["gzip, br"], TEXT, "the encoding `gzip, br`");
        check(&["gzip", "gzip"], TEXT, "the encoding `gzip, gzip`");
        // A frame that wants more remembered than it may: 16 MiB.
        let mut wide = zstd_zeros(1);
        wide[5] = 14 << 3;
        check(&["zstd"], &wide, "the body is not zstd");
        check(
            &["zstd"],
            &[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1],
            "the body is not zstd",
        );
    }

    #[test]
    fn a_bomb_goes_off_in_a_small_room() {
        let check = |encoding: &'static str, body: &[u8]| {
            assert!(body.len() < ZEROS / 500);
            let error = decode(&[encoding], body).unwrap_err();
            assert!(error.contains("bytes, decompressed"), "{error}");
        };
        check("gzip", &gzipped(&vec![0; ZEROS]));
        check("br", BROTLI_ZEROS);
        let blocks = MAX_KEPT_BYTES / ZSTD_BLOCK_BYTES;
        check("zstd", &zstd_zeros(blocks + 1));
        check("zstd", &[zstd_zeros(blocks), zstd_zeros(1)].concat());
        // What is just as large as it may be.
        let kept = |encoding, body: &[u8]| decode(&[encoding], body).map(|body| body.len());
        assert_eq!(kept("gzip", &gzipped(&vec![0; ZEROS - 1])), Ok(ZEROS - 1));
        assert_eq!(kept("zstd", &zstd_zeros(blocks)), Ok(ZEROS - 1));
    }
}
