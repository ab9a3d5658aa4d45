//! How a value lies in Redis.
//!
//! Most values lie there as they are. One that is compressed, has tags, or happens to begin like an
//! envelope is put into one: the magic, a byte of flags, the length of the tags and the length of the
//! value (each 4 bytes, little-endian), the tags as a JSON array of names and versions in turn, and
//! the body. The scripts in `redis.rs` read and write the part with the tags.

use std::borrow::Cow;
use std::io::{self, Read, Write as _};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use lz4_flex::frame::{FrameDecoder, FrameEncoder, FrameInfo};

/// What an envelope begins with; no JSON and no text does.
const MAGIC: &[u8] = b"\0pl1";
/// Magic, flags, two lengths.
const HEADER_BYTES: usize = 13;
/// Where the header has the length of the tags.
const TAGS_BYTES: Range<usize> = 5..9;
/// The body is an LZ4 frame with a checksum.
const COMPRESSED: u8 = 1;
/// LZ4 never makes its contents smaller by more than this: a length is one byte for each
/// 255 that it stands for.
const MOST_RATIO: usize = 255;

/// A value on its way to Redis.
#[derive(Debug)]
pub(super) struct Packed<'a> {
    /// The byte of flags, or nothing where only tags would make an envelope necessary.
    pub(super) flags: &'static [u8],
    /// The length of the value.
    pub(super) length: [u8; 4],
    /// What the envelope holds.
    pub(super) body: Cow<'a, [u8]>,
}

/// A value from Redis.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unpacked {
    pub(super) value: Bytes,
    pub(super) tags: Vec<Arc<str>>,
}

/// Compresses a value above `compress_above` bytes, if that makes it smaller.
pub(super) fn pack(value: &[u8], compress_above: usize) -> Packed<'_> {
    // A longer one is none that a second tier takes.
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes();
    if value.len() > compress_above
        && let Some(body) = compress(value)
        && body.len() < value.len()
    {
        return Packed {
            flags: &[COMPRESSED],
            length,
            body: body.into(),
        };
    }
    Packed {
        flags: if value.starts_with(MAGIC) { &[0] } else { &[] },
        length,
        body: value.into(),
    }
}

/// Takes a value out of its envelope, if it is in one. `None` when it makes no sense, or would be
/// larger than `max_bytes`: as much is ever made room for, and one block of LZ4, whatever the envelope
/// says.
pub(super) fn unpack(stored: Vec<u8>, max_bytes: usize) -> Option<Unpacked> {
    if !stored.starts_with(MAGIC) {
        return Some(Unpacked {
            value: stored.into(),
            tags: Vec::new(),
        });
    }
    let stored = Bytes::from(stored);
    let header = stored.get(MAGIC.len()..HEADER_BYTES)?;
    let (flags, lengths) = header.split_first()?;
    let (tags_bytes, value_bytes) = lengths.split_at(4);
    let (tags_bytes, value_bytes) = (number(tags_bytes)?, number(value_bytes)?);
    let end_of_tags = HEADER_BYTES.checked_add(tags_bytes)?;
    let tags = stored.get(HEADER_BYTES..end_of_tags)?;
    let tags = match tags {
        [] => Vec::new(),
        tags => names(tags)?,
    };
    let body = stored.slice(end_of_tags..);
    let value = match *flags {
        0 => body,
        COMPRESSED if value_bytes <= max_bytes && value_bytes / MOST_RATIO <= body.len() => {
            decompress(&body, value_bytes)?.into()
        }
        _ => return None,
    };
    (value.len() == value_bytes).then_some(Unpacked { value, tags })
}

/// Whether a value may have been stored under tags; one that makes no sense may have been.
pub(super) fn may_have_tags(stored: &[u8]) -> bool {
    stored.starts_with(MAGIC) && stored.get(TAGS_BYTES) != Some(&[0; 4])
}

fn compress(value: &[u8]) -> Option<Vec<u8>> {
    let info = FrameInfo::new().content_checksum(true);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(value).ok()?;
    encoder.finish().ok()
}

fn decompress(mut body: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(length);
    let frame = FrameDecoder::new((&mut body).chain(CutOff));
    // One byte more, so that the end is reached, where the checksum is; and no more than that.
    let read = frame.take(length as u64 + 1).read_to_end(&mut value);
    (read.is_ok() && body.is_empty()).then_some(value)
}

/// What is read after the last byte of a frame that has no end: the decoder takes a mere end of its
/// input for the frame's, and asks for no checksum then.
struct CutOff;

impl Read for CutOff {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::InvalidData.into())
    }
}

fn number(bytes: &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
}

fn names(tags: &[u8]) -> Option<Vec<Arc<str>>> {
    let tags: Vec<String> = serde_json::from_slice(tags).ok()?;
    Some(tags.into_iter().step_by(2).map(Arc::from).collect())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    /// What the scripts make of it.
    fn enveloped(packed: &Packed<'_>, tags: &str) -> Vec<u8> {
        if packed.flags.is_empty() && tags.is_empty() {
            return packed.body.to_vec();
        }
        let flags = match packed.flags {
            [] => &[0],
            flags => flags,
        };
        let tags_bytes = (tags.len() as u32).to_le_bytes();
        [
            MAGIC,
            flags,
            &tags_bytes,
            &packed.length,
            tags.as_bytes(),
            &packed.body,
        ]
        .concat()
    }

    /// As many bytes that no compression makes smaller.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn what_is_packed_is_unpacked_as_it_was() {
        let check = |value: &[u8], flags: &[u8]| {
            let packed = pack(value, 100);
            assert_eq!(packed.flags, flags);
            for (tags, names) in [("", &[][..]), (r#"["a","1","b","2"]"#, &["a", "b"])] {
                let stored = enveloped(&packed, tags);
                assert_eq!(may_have_tags(&stored), !names.is_empty());
                let unpacked = unpack(stored, KIB).unwrap();
                assert_eq!(unpacked.value, value);
                let found: Vec<&str> = unpacked.tags.iter().map(|name| &**name).collect();
                assert_eq!(found, names);
            }
        };
        check(b"", &[]);
        check(&[b'x'; 100], &[]);
        check(&[b'x'; 101], &[COMPRESSED]);
        check(&[b'x'; KIB], &[COMPRESSED]);
        check(&noise(KIB), &[]);
        check(b"\0pl1 is how an envelope begins", &[0]);
        assert_eq!(enveloped(&pack(&[b'x'; 100], 100), ""), [b'x'; 100]);
    }

    #[test]
    fn what_makes_no_sense_is_nothing() {
        let value = [b'x'; KIB];
        let good = enveloped(&pack(&value, 100), r#"["a","1"]"#);
        let check = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut stored = good.clone();
            change(&mut stored);
            assert_eq!(unpack(stored, KIB), None);
        };
        assert_eq!(unpack(good.clone(), KIB).unwrap().value, value[..]);
        assert_eq!(unpack(good.clone(), KIB - 1), None, "larger than allowed");
        for length in MAGIC.len()..good.len() {
            check(&|stored| stored.truncate(length));
            assert!(may_have_tags(&good[..length]));
        }
        check(&|stored| stored[4] = 2);
        check(&|stored| stored[4] = 0);
        // Lengths that would take gigabytes.
        check(&|stored| stored[5..9].fill(0xff));
        check(&|stored| stored[9..13].fill(0xff));
        check(&|stored| stored[9] = stored[9].wrapping_add(1));
        check(&|stored| stored[13] = b'{');
        // Any byte of what is compressed.
        for at in HEADER_BYTES + r#"["a","1"]"#.len()..good.len() {
            check(&|stored| stored[at] ^= 0x10);
        }
        check(&|stored| stored.push(0));
    }

    #[test]
    fn no_room_is_made_for_what_a_body_cannot_hold() {
        let claimed = 16 * KIB * KIB;
        let hostile = Packed {
            flags: &[COMPRESSED],
            length: (claimed as u32).to_le_bytes(),
            body: vec![0; 10].into(),
        };
        assert_eq!(unpack(enveloped(&hostile, ""), claimed), None);
    }

    #[test]
    fn no_bytes_panic() {
        for seed in 0..2000 {
            let mut stored = MAGIC.to_vec();
            stored.extend(&noise(2040)[seed..][..seed % 40]);
            // Whatever it is, it has to come back.
            let _ = unpack(stored, KIB);
        }
    }
}
