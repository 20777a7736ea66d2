//! `lokt exists`.

use super::transcript::{check, sandbox};

#[test]
fn tells_by_its_exit_code_alone() {
    let sandbox = sandbox();
    let _guard = sandbox.hold(["guard", "build"]);
    check(
        &sandbox,
        r#"
        $ lokt exists build
        $ lokt exists deploy
        = 3
        $ lokt lock deploy
        acquired lock "deploy"
        $ lokt exists deploy
        $ lokt unlock deploy
        released lock "deploy"
        $ lokt exists deploy
        = 3
        "#,
    );
}

#[test]
fn what_is_left_behind_does_not_exist_but_what_cannot_be_read_does() {
    let sandbox = sandbox();
    sandbox.plant("later", r#"{"version":99}"#);
    sandbox.plant("young", "");
    sandbox.plant("garbage", "no record at all");
    check(
        &sandbox,
        r#"
        $ LOKT_NO_SWEEP=1 lokt lock brief --ttl 1ns
        acquired lock "brief"
        $ lokt exists brief
        = 3
        $ LOKT_NO_SWEEP=1 lokt exists garbage
        = 3
        $ lokt exists later
        $ lokt exists young
        "#,
    );
}
