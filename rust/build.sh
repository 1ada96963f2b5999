#!/bin/sh
# Builds the core and puts it where Python finds it: src/chaperon/_core.abi3.so. The file is renamed
# into place, because a process that has the old one mapped would crash if it were overwritten.
# CARGO_FLAGS: further flags for cargo (`--locked`).
set -eu
rust=$(cd "$(dirname "$0")" && pwd)
package=$rust/../src/chaperon
export PYO3_PYTHON="${PYO3_PYTHON:-$rust/../.venv/bin/python}"
# shellcheck disable=SC2086
cargo build --quiet --release --features extension-module -p chaperon-binding \
    --manifest-path "$rust/Cargo.toml" ${CARGO_FLAGS:-}
target=${CARGO_TARGET_DIR:-$rust/target}
cp "$target/release/lib_core.so" "$package/_core.abi3.so.new"
mv "$package/_core.abi3.so.new" "$package/_core.abi3.so"
