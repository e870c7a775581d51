#!/usr/bin/env bash
# Fetches the newest kernel of each series from Debian's suites, without installing anything.
#
#   scripts/kernels/fetch.sh DIRECTORY SERIES...      for example: target/kernels 5.10 6.1 newest
#
# Writes DIRECTORY/boot/SERIES/vmlinuz, and nothing for a series that cannot be found. Existing
# files are kept, so a second run downloads nothing; remove the directory for newer kernels.
#
# The archive is the one that this machine's apt configuration names, but with suites that the
# machine does not use. So apt gets a list of sources, a state and a cache of its own below
# DIRECTORY. Signatures are checked with the machine's Debian keys. apt leaves out a suite whose key
# the machine does not have, with a warning, and its kernel is then missing: no kernel is booted
# without verification.
set -euo pipefail

mkdir -p "$1"
directory=$(cd "$1" && pwd)
shift

missing=()
for series in "$@"; do
    [[ -s $directory/boot/$series/vmlinuz ]] || missing+=("$series")
done
((${#missing[@]})) || exit 0

codename=$(. /etc/os-release && [[ $ID == debian ]] && echo "${VERSION_CODENAME:-}") || true
if [[ -z $codename ]]; then
    echo "kernels come from the archive of a Debian machine; this one is: $(uname -v)" >&2
    exit 1
fi

# Where the machine takes `main` of a suite from. Other vendors' archives have no such suite in
# main.
uri_of() {
    apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        awk -v suite="$1" '$1 == suite && $2 == "main" { print $3; exit }'
}
archive=$(uri_of "$codename")
[[ $archive ]] || archive=$(uri_of stable)
security=$(uri_of "$codename-security")
[[ $security ]] || security=$(uri_of stable-security)
[[ $security ]] || security=${archive%/}-security # as Debian's own servers have it
if [[ -z $archive ]]; then
    echo "apt knows no archive of $codename here" >&2
    exit 1
fi

apt=$directory/apt
mkdir -p "$apt"/{state/lists/partial,cache/archives/partial,debs}
options="arch=amd64"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[[ ! -r $keyring ]] || options+=" signed-by=$keyring"
{
    for suite in bullseye bookworm trixie trixie-backports sid; do
        echo "deb [$options] $archive $suite main"
    done
    for suite in bullseye bookworm trixie; do
        echo "deb [$options] $security $suite-security main"
    done
} >"$apt/sources.list"
# The machine's settings apply (such as a proxy), except for the directories and for the actions of
# an update: hooks for the machine's own package lists, and indexes for desktops.
cat >"$apt/apt.conf" <<END
Dir::State "$apt/state";
Dir::State::Lists "$apt/state/lists";
Dir::State::status "/dev/null";
Dir::Cache "$apt/cache";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
APT::Sandbox::User "root";
Acquire::Languages "none";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
#clear Acquire::IndexTargets::deb::DEP-11-icons-small;
#clear Acquire::IndexTargets::deb::DEP-11-icons-large;
END

apt-get -q -c "$apt/apt.conf" update || echo "going on without the suites that failed" >&2

# Version and package of every kernel image, oldest first. Cloud kernels are small and have
# what a guest without devices needs. Since 7.2 or so `linux-image` only depends on `linux-binary`,
# which has the image; so packages of a few kilobytes do not count.
kernels=$(apt-cache -c "$apt/apt.conf" dumpavail | awk '
    $1 == "Package:" { package = $2 }
    $1 == "Version:" { version = $2 }
    $1 == "Size:" && $2 > 1000000 && package ~ /^linux-(image|binary)-[0-9].*-cloud-amd64$/ {
        print version, package
    }' | sort -V)

for series in "${missing[@]}"; do
    prefix=
    [[ $series == newest ]] || prefix=$series.
    found=$(awk -v prefix="$prefix" 'index($1, prefix) == 1' <<<"$kernels" | tail -n 1)
    [[ $found ]] || continue
    read -r version package <<<"$found"
    (cd "$apt/debs" && rm -f ./*.deb && apt-get -q -c "$apt/apt.conf" download "$package=$version")
    place=$directory/boot/$series
    mkdir -p "$place"
    # In /boot, or beside the modules in newer packages. It comes before the modules, so tar stops
    # early, and `dpkg-deb` complains of that.
    { dpkg-deb --fsys-tarfile "$apt"/debs/*.deb 2>/dev/null || true; } |
        tar --extract --to-stdout --occurrence=1 --wildcards '*/vmlinuz*' >"$place/partial"
    rm -f "$apt"/debs/*.deb
    mv "$place/partial" "$place/vmlinuz"
    echo "$series: $package $version"
done
