# Debian packages for tests and benchmark; sourced by other scripts, does nothing by itself.
#
# Debian's mail servers exclude each other, so one is installed and the others are only unpacked
# below .cache/peers and run from there. No daemon may start because its package was installed:
# a policy-rc.d says so while apt works, and the machine's own one is put back afterwards.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

need_root() { # need_root PACKAGE...
    [ "$(id -u)" = 0 ] && return
    say "needs root to install Debian packages: $*"
    say "run it once as root (sudo make test), or install them yourself; then no root is needed."
    exit 1
}

policy=/usr/sbin/policy-rc.d
kept=

restore_policy() {
    if [ -n "$kept" ]; then mv -f "$kept" "$policy"; else rm -f "$policy"; fi
}

forbid_daemons() {
    if [ -e "$policy" ]; then
        kept=$policy.gatepost
        mv "$policy" "$kept"
    fi
    trap restore_policy EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

allow_daemons() {
    trap - EXIT INT TERM
    restore_policy
}

update_lists() {
    [ -z "${lists_are_fresh:-}" ] || return 0
    apt-get update -qq </dev/null >&2 || { say "apt-get update failed; is the package mirror reachable?"; exit 1; }
    lists_are_fresh=yes
}

# Installs without removing anything: on a machine that already runs another mail server this fails
# instead of replacing it.
install_packages() { # install_packages PACKAGE...
    need_root "$@"
    say "installing Debian packages: $*"
    update_lists
    forbid_daemons
    echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends --no-remove "$@" \
        </dev/null >.cache/apt.log 2>&1 || {
        tail -n 20 .cache/apt.log >&2
        say "apt-get install failed; the whole output is in .cache/apt.log"
        exit 1
    }
    allow_daemons
}

# Unpacks a package below .cache/peers/NAME, with the libraries it needs installed (they exclude nothing).
unpack_package() { # unpack_package NAME PACKAGE
    local target=.cache/peers/$1 package=$2 download
    need_root "$package"
    update_lists
    local libraries
    mapfile -t libraries < <(apt-cache depends "$package" | sed -n 's/^ *Depends: \(lib[a-z0-9.+-]*\)$/\1/p' |
        while read -r name; do dpkg -s "$name" >/dev/null 2>&1 || echo "$name"; done)
    [ ${#libraries[@]} = 0 ] || install_packages "${libraries[@]}"
    say "unpacking $package into $target"
    download=$(mktemp -d)
    (cd "$download" && apt-get download -qq -o APT::Sandbox::User=root "$package" </dev/null >&2) || {
        say "apt-get download $package failed"
        exit 1
    }
    rm -rf "$target.new" "$target"
    dpkg -x "$download"/*.deb "$target.new"
    rm -rf "$download"
    mv "$target.new" "$target"
}
