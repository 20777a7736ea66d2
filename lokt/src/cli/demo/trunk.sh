# The trunk, and a clone of it for each agent.
set -e
command -v git > /dev/null || {
    echo "this one needs git, which is not installed here: try lokt demo hexwall" >&2
    exit 1
}
git config --global init.defaultBranch trunk
git config --global user.email agent@example.com
git config --global user.name agent
git init -q --bare trunk.git
git clone -q trunk.git first 2> /dev/null
git -C first commit -q --allow-empty -m begin
git -C first push -q origin HEAD:trunk
for agent; do
    git clone -q trunk.git "$agent"
done
