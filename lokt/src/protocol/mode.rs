//! How a name is held: by one, or by several together.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a name is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By one, alone.
    #[default]
    Exclusive,
    /// By any number, but by none who wants it alone: readers and a writer (Courtois, Heymans and Parnas, 1971).
    Shared,
    /// By so many at most: a counting semaphore (Dijkstra, 1965).
    Slots(u32),
}

impl Mode {
    /// Whether one more gets in beside so many who hold the name in the mode `held`.
    pub fn has_room(self, held: Self, holders: usize) -> bool {
        match (self, held) {
            _ if holders == 0 || self.always_has_room(held) => true,
            (Self::Slots(slots), Self::Slots(agreed)) if slots == agreed => holders < slots as usize,
            _ => false,
        }
    }

    /// Whether there is room for one more however many hold it so, dead or alive: then nobody has to look at them.
    pub fn always_has_room(self, held: Self) -> bool {
        (self, held) == (Self::Shared, Self::Shared)
    }

    /// Whether the two are about one thing, so that to wait makes sense: one lock, or so many slots.
    pub fn agrees(self, held: Self) -> bool {
        match (self, held) {
            (Self::Slots(slots), Self::Slots(agreed)) => slots == agreed,
            (Self::Slots(_), _) | (_, Self::Slots(_)) => false,
            _ => true,
        }
    }

    /// Whether one who holds a name so has it in the mode `asked`, too: whoever has it alone has it in any.
    pub fn includes(self, asked: Self) -> bool {
        self == asked || self == Self::Exclusive
    }

    /// How many slots there are, if it has any.
    pub fn slots(self) -> Option<u32> {
        match self {
            Self::Slots(slots) => Some(slots),
            _ => None,
        }
    }
}

/// As it is asked for on the command line.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exclusive => Ok(()),
            Self::Shared => f.write_str("--shared"),
            Self::Slots(slots) => write!(f, "--slots {slots}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Mode::{Exclusive, Shared, Slots};

    #[test]
    fn there_is_room_beside_those_of_ones_kind() {
        for mode in [Exclusive, Shared, Slots(1), Slots(3)] {
            for held in [Exclusive, Shared, Slots(1), Slots(3)] {
                assert!(mode.has_room(held, 0), "nobody is in the way: {mode:?}, {held:?}");
                let beside = mode == held && mode != Exclusive;
                assert_eq!(mode.has_room(held, 1), beside && mode != Slots(1), "{mode:?} beside {held:?}");
            }
        }
        assert!(Slots(3).has_room(Slots(3), 2) && !Slots(3).has_room(Slots(3), 3));
        assert!(Shared.has_room(Shared, 1_000_000));
    }

    #[test]
    fn whoever_has_a_name_alone_has_it_in_any_mode() {
        assert!([Exclusive, Shared, Slots(2)].iter().all(|asked| Exclusive.includes(*asked)));
        assert!(Slots(2).includes(Slots(2)) && !Slots(2).includes(Slots(3)));
        assert!(Shared.includes(Shared) && !Shared.includes(Exclusive));
    }

    #[test]
    fn a_mode_is_told_as_it_is_asked_for() {
        let said = [Exclusive, Shared, Slots(3)].map(|mode| mode.to_string());
        assert_eq!(said, ["", "--shared", "--slots 3"]);
    }

    #[test]
    fn slots_agree_with_the_same_number_of_slots_only() {
        for (one, other) in [(Slots(2), Slots(3)), (Slots(2), Exclusive), (Slots(2), Shared)] {
            assert!(!one.agrees(other) && !other.agrees(one), "{one:?}, {other:?}");
        }
        for (one, other) in [(Slots(2), Slots(2)), (Shared, Exclusive), (Exclusive, Exclusive)] {
            assert!(one.agrees(other) && other.agrees(one), "{one:?}, {other:?}");
        }
    }
}
