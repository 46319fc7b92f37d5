#!/usr/bin/env bash
# Makes a Docker image of this machine's own redis-server (or valkey-server) and the libraries that it needs. For tests
# where no image can be pulled. Needs Docker and Linux; takes a name for the image, by default the one that `npm test` uses.
set -euo pipefail

image="${1:-stafett-test/redis:local}"
server="$(command -v redis-server || command -v valkey-server || true)"
if [[ -z "$server" ]]; then
  echo 'neither redis-server nor valkey-server is on the PATH; on Debian: apt-get install --no-install-recommends redis-server' >&2
  exit 1
fi

root="$(mktemp -d)"
trap 'rm -rf -- "$root"' EXIT

install -D -m 755 "$(readlink -f "$server")" "$root/usr/local/bin/redis-server"
# The libraries and the loader, at the very paths that the binary names or the loader looks at.
mapfile -t libraries < <(ldd "$server" | grep -o '/[^ )]*' | sort -u)
for library in "${libraries[@]}"; do
  install -D -m 755 "$(readlink -f "$library")" "$root$library"
done
mkdir -p "$root/etc" "$root/data" "$root/tmp"
chmod 1777 "$root/tmp"
echo 'root:x:0:0:root:/data:/bin/false' >"$root/etc/passwd"
echo 'passwd: files' >"$root/etc/nsswitch.conf"

library_path="$(for library in "${libraries[@]}"; do dirname "$library"; done | sort -u | paste -sd: -)"
tar -C "$root" -c . | docker import \
  --change 'ENV PATH=/usr/local/bin' \
  --change "ENV LD_LIBRARY_PATH=$library_path" \
  --change 'WORKDIR /data' \
  --change 'EXPOSE 6379' \
  --change 'CMD ["redis-server","--protected-mode","no","--save",""]' \
  - "$image" >/dev/null

docker run --rm --network none "$image" redis-server --version
