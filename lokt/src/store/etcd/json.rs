//! What all of the gateway's JSON is made of: numbers, bytes, and how a failure is told.

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use super::base64;
use super::error::Fault;

/// Bytes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Bytes(pub Vec<u8>);

/// A number of 64 bits.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number(pub i64);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&base64::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        base64::decode(&text).map(Self).ok_or_else(|| D::Error::custom("bytes that are not base64"))
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(i64),
            /// A member's id is unsigned; it keeps its bits.
            Large(u64),
            Text(String),
        }
        match Either::deserialize(from)? {
            Either::Number(number) => Ok(Self(number)),
            Either::Large(number) => Ok(Self(number.cast_signed())),
            Either::Text(text) => text
                .parse()
                .or_else(|_| text.parse().map(u64::cast_signed))
                .map(Self)
                .map_err(|_| D::Error::custom(format_args!("{text:?} is no number"))),
        }
    }
}

/// A message of an answer that is a stream: one of the two.
#[derive(Deserialize)]
pub(super) struct Streamed<T> {
    pub result: Option<T>,
    pub error: Option<Failure>,
}

/// An error, in the forms in which the gateways of 3.4 to 3.6 have it.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Failure {
    /// What a stream has.
    Object {
        #[serde(alias = "grpc_code")]
        code: i64,
        #[serde(default)]
        message: String,
    },
    /// Older ones say it twice.
    Text(String),
}

/// The body of an answer that is no success.
#[derive(Deserialize)]
struct Refused {
    code: Option<i64>,
    message: Option<String>,
    error: Option<Failure>,
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Object { code, message } => Self { code, message },
            Failure::Text(message) => Self { code: 2, message },
        }
    }
}

/// The fault that an answer without success tells of, if it is in the gateway's form.
pub(super) fn fault(body: &[u8]) -> Option<Fault> {
    let refused: Refused = serde_json::from_slice(body).ok()?;
    match (refused.code, refused.message, refused.error) {
        (Some(code), Some(message), _) => Some(Fault { code, message }),
        (_, _, Some(failure)) => Some(failure.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_64_bits_keep_all_of_them() {
        for (json, number) in [
            (r#""9223372036854775807""#, i64::MAX),
            ("9223372036854775807", i64::MAX),
            (r#""-1""#, -1),
            (r#""18446744073709551615""#, -1),
            ("18446744073709551615", -1),
        ] {
            assert_eq!(serde_json::from_str::<Number>(json).unwrap().0, number, "{json}");
        }
        assert_eq!(serde_json::to_string(&Number(i64::MAX)).unwrap(), r#""9223372036854775807""#);
        assert!(serde_json::from_str::<Number>(r#""x""#).is_err());
    }

    #[test]
    fn a_fault_is_read_in_every_form() {
        let wanted = |code| Some(Fault { code, message: "m".to_owned() });
        assert_eq!(fault(br#"{"error":"m","message":"m","code":5}"#), wanted(5));
        assert_eq!(fault(br#"{"code":5,"message":"m","details":[]}"#), wanted(5));
        assert_eq!(fault(br#"{"error":"m","code":5}"#), wanted(2));
        assert_eq!(fault(br#"{"error":{"grpc_code":14,"http_code":503,"message":"m"}}"#), wanted(14));
        assert_eq!(fault(br#"{"error":{"code":14,"message":"m","details":[]}}"#), wanted(14));
        assert_eq!(fault(b"Not Found"), None);
        assert_eq!(fault(b"{}"), None);
    }
}
