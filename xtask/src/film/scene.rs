//! Who types what, and when.
//!
//! Times are milliseconds from the start. What the program says of ages and leases depends on them: they are chosen
//! so that each falls into the middle of a second.

use std::path::Path;

use super::reel::Reel;
use super::stage::Stage;

const ADA: usize = 0;
const BOB: usize = 1;

/// What both of them deploy with: it says so, and ends when it is told to.
const DEPLOY: &str = "#!/bin/sh
echo \"deploying, with token $LOKT_TOKEN\"
read line < \"$LOKT_OWNER.done\"
echo deployed
";

/// Plays it.
pub fn play(lokt: &Path) -> anyhow::Result<Reel> {
    let mut stage = Stage::new(lokt, DEPLOY)?;
    let ada = stage.terminal("ada", 7)?;
    let bob = stage.terminal("bob", 14)?;
    debug_assert_eq!((ada, bob), (ADA, BOB));

    stage.types(ADA, 600, "lokt guard deploy --ttl 5m -- ./deploy.sh");
    stage.enters(ADA, 2_300, 4711)?;
    stage.sees(ADA, "token 1")?;

    stage.types(BOB, 3_900, "lokt guard deploy --ttl 5m -- ./deploy.sh");
    stage.enters(BOB, 5_800, 4802)?;
    stage.is_back(BOB)?;

    stage.types(BOB, 8_700, "lokt why deploy");
    stage.enters(BOB, 9_800, 4809)?;
    stage.is_back(BOB)?;

    stage.types(BOB, 14_000, "lokt guard deploy --wait -- ./deploy.sh");
    stage.enters(BOB, 15_700, 4817)?;
    stage.sees(BOB, "lokt: waiting")?;
    stage.watches(16_200, 19_200, 1_000)?;

    stage.lets_go(ADA, 19_600)?;
    stage.is_back(ADA)?;
    stage.sees(BOB, "token 2")?;
    stage.types(ADA, 21_300, "lokt status");
    stage.enters(ADA, 22_100, 4836)?;
    stage.is_back(ADA)?;

    stage.lets_go(BOB, 26_000)?;
    stage.is_back(BOB)?;
    stage.ends(29_000, 18_700)
}
