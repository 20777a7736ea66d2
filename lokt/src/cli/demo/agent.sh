# What an agent does for one change to the trunk: get the newest, test, commit, push; again, if another was faster.
# $WHO is the agent, $1 the number of the change, $2 how long the tests take.
set -e
say() { echo "$1" > "../state.$WHO"; }
test_it() { say "$1 testing"; echo >> ../tests; sleep "$2"; }

cd "$WHO"
say "$1 pulling"
git pull -q --no-rebase --no-edit
echo "$1" >> "$WHO.txt"
test_it "$1" "$2"
git add -A
git commit -q -m "$WHO: change $1"
say "$1 pushing"
until git push -q; do
    say "$1 rejected"
    echo >> ../rejected
    git pull -q --no-rebase --no-edit
    test_it "$1" "$2"
    say "$1 pushing"
done
