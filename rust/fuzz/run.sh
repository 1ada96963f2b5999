#!/bin/sh
# Fuzzes every target for its share of BUDGET_SECONDS (default 60). Needs the nightly toolchain;
# installs cargo-fuzz under .build/ when it is missing. Crashes are in artifacts/ and make this fail.
# A target's name as second argument runs only that one.
set -eu
budget=${1:-60}
fuzz=$(cd "$(dirname "$0")" && pwd)
tools=$(cd "$fuzz/../.." && pwd)/.build/cargo
PATH=$tools/bin:$PATH
export PATH

cargo +nightly --version >/dev/null 2>&1 || {
    echo "fuzz: needs Rust's nightly toolchain: rustup toolchain install nightly" >&2
    exit 1
}
command -v cargo-fuzz >/dev/null || cargo install --quiet cargo-fuzz --root "$tools"

targets=${2:-framer frame template rows}
# shellcheck disable=SC2086
set -- $targets
share=$((budget / $#))
[ "$share" -ge 1 ] || share=1
cd "$fuzz"
for target in "$@"; do
    dictionary=
    [ "$target" = template ] && dictionary=-dict=sql.dict
    echo "fuzz: $target for $share s"
    # shellcheck disable=SC2086
    nice cargo +nightly fuzz run --fuzz-dir . "$target" -- \
        -max_total_time="$share" -timeout=10 -rss_limit_mb=1024 -max_len=4096 \
        -print_final_stats=1 $dictionary
done
