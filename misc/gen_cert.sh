#!/usr/bin/env bash
# Creates test certificates in the directory of this script:
#
#   ca.crt, ca.key                 the certificate authority
#   localhost.crt, localhost.key   a server certificate for localhost, 127.0.0.1 and ::1
#   client.crt, client.key         a client certificate
#
# Keeps files that exist and are still valid; --force recreates all of them. Not for production: the CA's key is stored next
# to its certificate.
set -euo pipefail

case "${1:-}" in
    "" | --force) ;;
    *)
        echo "usage: $0 [--force]" >&2
        exit 2
        ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")"
umask 077

if [[ "${1:-}" == --force ]]; then
    rm -f ca.crt ca.key localhost.crt localhost.key client.crt client.key
fi

days=365

# Whether a certificate exists with its key, is signed by the CA and remains valid for another day.
usable() {
    [[ -s $1.crt && -s $1.key ]] &&
        openssl x509 -in "$1.crt" -noout -checkend 86400 >/dev/null 2>&1 &&
        openssl verify -CAfile ca.crt "$1.crt" >/dev/null 2>&1
}

# issue <file> <common name> <extended key usage> [subject alternative names]
issue() {
    local file=$1 name=$2 usage=$3 names=${4:-}
    openssl req -new -newkey rsa:2048 -nodes -keyout "$file.key" -subj "/CN=$name" -out "$file.csr" 2>/dev/null
    {
        echo "basicConstraints = critical, CA:FALSE"
        echo "keyUsage = critical, digitalSignature, keyEncipherment"
        echo "extendedKeyUsage = $usage"
        echo "authorityKeyIdentifier = keyid"
        if [[ -n $names ]]; then echo "subjectAltName = $names"; fi
    } >"$file.ext"
    openssl x509 -req -in "$file.csr" -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 16)" \
        -days "$days" -sha256 -extfile "$file.ext" -out "$file.crt" 2>/dev/null
    rm -f "$file.csr" "$file.ext"
    chmod 644 "$file.crt"
    echo "made $file.crt and $file.key"
}

if ! usable ca; then
    rm -f localhost.crt client.crt
    openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -subj "/CN=Kedge test CA" -days "$days" -sha256 \
        -addext "basicConstraints = critical, CA:TRUE, pathlen:0" \
        -addext "keyUsage = critical, keyCertSign, cRLSign" -out ca.crt 2>/dev/null
    chmod 644 ca.crt
    echo "made ca.crt and ca.key"
fi

usable localhost || issue localhost localhost serverAuth "DNS:localhost, IP:127.0.0.1, IP:::1"
usable client || issue client kedge-client clientAuth
