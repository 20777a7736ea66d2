//! The fencing tokens of a stripe's names: a counter in the mutex's own file.
//!
//! Tokens must not go back, not even over a power cut, and an admission must not cost an fsync. So they are
//! reserved in blocks whose end is synced before the first is handed out, and the first admission after another
//! boot starts at that end (as Hi/Lo generators of databases do).

use std::io;

use crate::host::Stripe;
use crate::protocol::{NO_TOKEN, Now};

/// How many tokens one fsync reserves.
const BLOCK: u64 = 1000;

/// A counter that was damaged goes on from the wall clock's second, times 2^20, but from no earlier one than this: no
/// clock that is wrong leads back to a number that a counter has come to that began at 1.
const EARLIEST: u64 = 1_735_689_600;

/// Nor from a later one, so that there is something left to count.
const LATEST: u64 = 4_102_444_800;

/// Says of a block that it may not be synced.
const UNSYNCED: &str = "unsynced";

/// The counter's length in the file; fixed, so that it is overwritten as one piece.
const LENGTH: usize = 128;

/// The counter of one stripe, read under its mutex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counter {
    boot: String,
    next: u64,
    reserved: u64,
}

impl Counter {
    pub(super) fn read(stripe: &dyn Stripe, now: &Now) -> io::Result<Self> {
        Ok(Self::parse(&stripe.read()?, now))
    }

    /// The counter in `content`, as it goes on in this boot.
    fn parse(content: &[u8], now: &Now) -> Self {
        let boot = now.clock.boot().to_owned();
        if content.is_empty() {
            return Self { boot, next: 1, reserved: 1 };
        }
        let text = String::from_utf8_lossy(content);
        let mut fields = text.split_ascii_whitespace();
        let (then, mut second) = (fields.next(), fields.next());
        let synced = second != Some(UNSYNCED);
        if !synced {
            second = fields.next();
        }
        let read = (then, number(second), number(fields.next()));
        match read {
            (Some(then), Some(next), Some(reserved)) if then == boot && synced => {
                Self { boot, next, reserved }
            }
            // The block is not to be counted on in this boot; it is synced anew before the next is handed out.
            (Some(then), Some(next), Some(_)) if then == boot => Self { boot, next, reserved: next },
            (Some(_), Some(_), Some(reserved)) => Self { boot, next: reserved, reserved },
            // Damaged: begin where no counter that began at 1 can have come to.
            _ => {
                let second = u64::try_from(now.wall.as_second()).unwrap_or_default();
                let next = second.clamp(EARLIEST, LATEST) << 20;
                Self { boot, next, reserved: next }
            }
        }
    }

    /// The next token.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Notes that `token` is handed out, so that the next is larger.
    pub(super) fn hand_out(&mut self, token: u64, stripe: &mut dyn Stripe) -> io::Result<()> {
        self.next = token.saturating_add(1);
        if self.next > self.reserved {
            self.reserved = self.next.saturating_add(BLOCK);
            // Should this fail after the write and before the sync, the next one sees that it has.
            stripe.write(&self.content(UNSYNCED), true)?;
        }
        stripe.write(&self.content(""), false)
    }

    fn content(&self, state: &str) -> Vec<u8> {
        // Of one width, and the larger digits first: what a short write leaves, some of the new before the rest of the old,
        // is no smaller than the old.
        let (width, boot, next, reserved) = (UNSYNCED.len(), &self.boot, self.next, self.reserved);
        let mut line = format!("{boot} {state:width$} {next:020} {reserved:020}").into_bytes();
        line.resize(LENGTH - 1, b' ');
        line.push(b'\n');
        line
    }
}

/// A number that a counter can have come to; what is beyond was not written by one.
fn number(text: Option<&str>) -> Option<u64> {
    text?.parse().ok().filter(|number| *number < NO_TOKEN)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::{ClockId, LEFT_TO_COUNT};

    #[derive(Default)]
    struct Memory {
        content: Vec<u8>,
        synced: Vec<u8>,
        sync_fails: bool,
    }

    impl Stripe for Memory {
        fn read(&self) -> io::Result<Vec<u8>> {
            Ok(self.content.clone())
        }

        fn write(&mut self, content: &[u8], sync: bool) -> io::Result<()> {
            self.content = content.to_vec();
            if sync && self.sync_fails {
                return Err(io::Error::other("the disk does not answer"));
            }
            if sync {
                self.synced = content.to_vec();
            }
            Ok(())
        }
    }

    fn boot(id: &str) -> Now {
        Now {
            monotonic: Duration::ZERO,
            boottime: Duration::ZERO,
            wall: jiff::Timestamp::from_second(1_800_000_000).unwrap(),
            clock: ClockId::new(id),
        }
    }

    fn take(stripe: &mut Memory, now: &Now) -> u64 {
        let mut counter = Counter::read(stripe, now).unwrap();
        let token = counter.next();
        counter.hand_out(token, stripe).unwrap();
        token
    }

    #[test]
    fn tokens_rise_by_one_within_a_boot() {
        let mut stripe = Memory::default();
        let taken: Vec<u64> = (0..2500).map(|_| take(&mut stripe, &boot("a"))).collect();
        assert_eq!(taken, (1..=2500).collect::<Vec<u64>>());
    }

    #[test]
    fn tokens_rise_over_a_power_cut_at_any_moment() {
        for before in [1, 2, 999, 1000, 1001, 1002, 2500] {
            let mut stripe = Memory::default();
            let last = (0..before).map(|_| take(&mut stripe, &boot("a"))).last().unwrap();
            stripe.content = stripe.synced.clone();
            let first = take(&mut stripe, &boot("b"));
            assert!(first > last, "{first} after {last}");
        }
    }

    #[test]
    fn a_block_whose_sync_failed_is_not_counted_on() {
        let mut stripe = Memory { sync_fails: true, ..Memory::default() };
        let mut counter = Counter::read(&stripe, &boot("a")).unwrap();
        assert!(counter.hand_out(1, &mut stripe).is_err());
        stripe.sync_fails = false;
        let last = take(&mut stripe, &boot("a"));
        stripe.content = stripe.synced.clone();
        let first = take(&mut stripe, &boot("b"));
        assert!(first > last, "{first} after {last}");
    }

    #[test]
    fn a_damaged_counter_begins_beyond_any_other_whatever_the_wall_clock_says() {
        for second in [0, 1_800_000_000, 200_000_000_000] {
            let mut stripe = Memory { content: b"\0\0\0".to_vec(), ..Memory::default() };
            let now = Now { wall: jiff::Timestamp::from_second(second).unwrap(), ..boot("a") };
            let first = take(&mut stripe, &now);
            assert!((1 << 50..NO_TOKEN).contains(&first), "{first}");
            assert_eq!(take(&mut stripe, &now), first + 1);
        }
    }

    #[test]
    fn tokens_rise_from_the_largest_that_a_record_may_claim() {
        let mut stripe = Memory::default();
        let mut last = NO_TOKEN - LEFT_TO_COUNT;
        Counter::read(&stripe, &boot("a")).unwrap().hand_out(last, &mut stripe).unwrap();
        for now in ["a", "a", "b", "b"] {
            let next = take(&mut stripe, &boot(now));
            assert!(next > last, "{next} after {last}");
            last = next;
        }
    }

    #[test]
    fn a_write_that_is_cut_off_leaves_no_smaller_token() {
        for before in [9, 99, 998, 999, 1000] {
            let mut stripe = Memory::default();
            (0..before).for_each(|_| _ = take(&mut stripe, &boot("a")));
            let old = stripe.content.clone();
            let last = take(&mut stripe, &boot("a"));
            for length in 0..LENGTH {
                let content = [&stripe.content[..length], &old[length..]].concat();
                let cut = Memory { content, ..Memory::default() };
                let next = Counter::read(&cut, &boot("a")).unwrap().next();
                assert!(next >= last, "{next} after {last} was handed out, or was about to be");
                let later = Counter::read(&cut, &boot("b")).unwrap().next();
                assert!(later >= last, "{later} after {last}, in another boot");
            }
        }
    }
}
