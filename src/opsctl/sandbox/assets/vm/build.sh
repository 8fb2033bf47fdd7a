#!/bin/bash
# build.sh ASSETS WORK OUT DROPLET.TAR SEED.TAR: the disk and the kernel of a droplet that is a machine.
# Needs root and mke2fs. Makes OUT/disk.ext4 (sparse) and OUT/vmlinuz. "== " lines are for people.
set -euo pipefail
assets=$1 work=$2 out=$3 droplet=$4 seed=$5 size=8G
if [ -z "${SANDBOX_UNSHARED:-}" ]; then
    # Everything mounted in here ends with this process, however that ends.
    exec env SANDBOX_UNSHARED=1 unshare --mount --pid --fork --kill-child --propagation private "$BASH" "$0" "$@"
fi
mount -t proc proc /proc
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin
tree="$work/tree"

say() { echo "== $*"; }

quietly() { "$@" > "$work/build.log" 2>&1 || { tail -n 20 "$work/build.log" >&2; return 1; }; }

unpack() {
    say "unpacking the droplet's root filesystem and its images"
    mkdir -p "$tree"
    tar -C "$tree" --numeric-owner --xattrs --xattrs-include='*' -xpf "$droplet"
    mkdir -p "$tree/var/lib/docker"
    chmod 0710 "$tree/var/lib/docker"
    tar -C "$tree/var/lib/docker" --numeric-owner --xattrs --xattrs-include='*' -xpf "$seed"
    mkdir -p "$tree"/{proc,sys,dev,run,tmp,mnt,var/log,var/lib/apt/lists,var/cache/apt/archives/partial}
    chmod 1777 "$tree/tmp"
}

# Of the kernel's package only the files: no initrd is needed, for disk and file system drivers are built in.
packages() {
    local name version
    say "the kernel and the system bus (waits for the package mirror)"
    mount -t proc proc "$tree/proc"
    mount -t tmpfs tmpfs "$tree/run"
    mount --bind /etc/resolv.conf "$tree/etc/resolv.conf"
    mount -t tmpfs tmpfs "$tree/var/lib/apt/lists"
    mount -t tmpfs tmpfs "$tree/mnt"
    quietly chroot "$tree" apt-get -o APT::Sandbox::User=root update -q
    # No service is started in here: systemd is not running, and its tools see that.
    quietly chroot "$tree" apt-get -o APT::Sandbox::User=root install -yq dbus
    rm -f "$tree"/var/cache/apt/archives/*.deb
    name=$(chroot "$tree" apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9]\)/\1/p')
    version=${name#linux-image-}
    quietly chroot "$tree" sh -ec "cd /mnt; apt-get -o APT::Sandbox::User=root download -q $name; dpkg-deb -x $name*.deb ."
    cp "$tree/mnt/boot/vmlinuz-$version" "$out/vmlinuz"
    cp -a "$tree/mnt"/{usr/,}lib/modules "$tree/usr/lib/" 2> /dev/null || [ -d "$tree/usr/lib/modules/$version" ]
    umount "$tree/mnt" "$tree/var/lib/apt/lists" "$tree/etc/resolv.conf"
    chroot "$tree" python3 - "/usr/lib/modules/$version" < "$assets/vm/unpack_modules.py"
    chroot "$tree" depmod "$version"
}

# An emulated processor takes 0.1 to 0.5 s for every process: a boot that starts only what a droplet is for.
trim() {
    local units="$tree/etc/systemd/system" unit
    cp -r "$assets/vm/root/." "$tree/"
    while read -r unit; do
        case "$unit" in ''|'#'*) continue ;; esac
        ln -sfn /dev/null "$units/$unit"
    done < "$assets/vm/masked-units"
    # Started when somebody asks for it over the bus, not at boot.
    rm -f "$tree/usr/lib/systemd/system/multi-user.target.wants/systemd-logind.service"
    mkdir -p "$tree/etc/systemd/system-generators"
    for unit in "$tree"/usr/lib/systemd/system-generators/*; do
        ln -sfn /dev/null "$tree/etc/systemd/system-generators/${unit##*/}"
    done
    chroot "$tree" systemctl enable -q sandbox-identity sandbox-network sandbox-control ssh docker
    ln -sfn /usr/lib/systemd/system/multi-user.target "$units/default.target"
    : > "$tree/etc/fstab"
    rm -f "$tree"/etc/ssh/ssh_host_* "$tree/.dockerenv"
    echo 'nameserver 10.0.2.3' > "$tree/etc/resolv.conf"
    chroot "$tree" ldconfig
    # Empty: the first boot gives the machine an id of its own, and keeps it. The journal of a boot outlives it, as on any
    # droplet: it tells who killed the one before.
    : > "$tree/etc/machine-id"
    mkdir -p "$tree/var/log/journal"
    # Newer than /usr: nothing is rebuilt at the first boot.
    touch "$tree/etc/.updated" "$tree/var/.updated"
}

# Each check starts a process in a container, which an emulated processor is busy with for a second or more. Until the
# first verdict they come as often as before at least; `unhealthy` takes 3 min (150 s before), of a store 2 min (50 s).
space_health_checks() {
    local compose="$tree/opt/Dev-Tools/deploy/docker-compose.yml"
    sed -i -e '/^x-store-health:/,/^$/{s/interval: 10s/interval: 60s\n  start_period: 60s\n  start_interval: 5s/;s/timeout: 5s/timeout: 20s/;s/retries: 5/retries: 2/}' \
        -e '/^  healthcheck: &service-health/,/^$/{s/interval: 30s/interval: 60s\n    start_interval: 5s/;s/timeout: 10s/timeout: 20s/;s/retries: 5/retries: 3/}' \
        "$compose"
    [ "$(grep -c '^ *interval: 60s' "$compose")" = 2 ]
}

mkdir -p "$work" "$out"
unpack
packages
trim
space_health_checks
umount "$tree/proc" "$tree/run"
say "writing the disk"
# Metadata that is not there yet is zero in a sparse file: `noinit_itable` at boot leaves it so.
mke2fs -q -t ext4 -m 0 -N 400000 -d "$tree" -F "$out/disk.ext4" "$size"
