#!/bin/bash
# Runs inside the droplet's root filesystem once its packages are installed.
set -euo pipefail
useradd -m -s /bin/bash -p '*' alex
useradd -m -s /bin/bash -p '*' -G docker deploy
echo 'alex ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/alex
chmod 0440 /etc/sudoers.d/alex
usermod -p '*' root
rm -f /etc/ssh/ssh_host_*
cat > /etc/ssh/sshd_config.d/sandbox.conf <<'CONF'
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/sandbox_authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
UseDNS no
# Everybody comes from one address here: who asks whether sshd answers must not be shut out for it.
PerSourcePenalties no
CONF
chmod 0755 /usr/local/lib/sandbox/* /usr/local/sbin/*
chown root:docker /opt/Dev-Tools/config/env/.env
chmod 0640 /opt/Dev-Tools/config/env/.env
ln -sf ../config/env/.env /opt/Dev-Tools/deploy/.env
: > /etc/machine-id
