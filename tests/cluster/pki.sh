#!/bin/bash
# pki.sh DIR NODE_NAME NODE_IP : CA, server and client certificates (P-256, 1 year), kubeconfigs. Needs only openssl.
set -eu
D=$1; NODE=$2; NIP=$3; mkdir -p $D; cd $D
umask 077
key() { openssl ecparam -name prime256v1 -genkey -noout -out $1.key 2>/dev/null; }
ca() { key $1; openssl req -x509 -new -key $1.key -subj "/CN=$1" -days 365 -out $1.crt \
   -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature 2>/dev/null; }
crt() { # NAME SUBJ CA EKU [SAN]
  key $1; openssl req -new -key $1.key -subj "$2" -out $1.csr 2>/dev/null
  { echo "extendedKeyUsage=$4"; echo "keyUsage=digitalSignature,keyEncipherment"; [ -n "${5:-}" ] && echo "subjectAltName=$5"; } > $1.ext
  openssl x509 -req -in $1.csr -CA $3.crt -CAkey $3.key -CAcreateserial -days 365 -extfile $1.ext -out $1.crt 2>/dev/null
  rm -f $1.csr $1.ext; }
ca ca; ca front-proxy-ca
crt apiserver "/CN=kube-apiserver" ca serverAuth "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:127.0.0.1,IP:10.96.0.1,IP:$NIP"
crt kubelet-server "/CN=system:node:$NODE/O=system:nodes" ca serverAuth "DNS:$NODE,DNS:localhost,IP:127.0.0.1,IP:$NIP"
crt apiserver-kubelet-client "/O=system:masters/CN=apiserver-kubelet-client" ca clientAuth
crt front-proxy-client "/CN=front-proxy-client" front-proxy-ca clientAuth
crt admin "/O=system:masters/CN=admin" ca clientAuth
crt kcm "/CN=system:kube-controller-manager" ca clientAuth
crt scheduler "/CN=system:kube-scheduler" ca clientAuth
crt proxy "/CN=system:kube-proxy" ca clientAuth
crt kubelet "/O=system:nodes/CN=system:node:$NODE" ca clientAuth
openssl genrsa -out sa.key 2048 2>/dev/null; openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
b() { base64 -w0 < $1; }
for u in admin kcm scheduler proxy kubelet; do cat > $u.kubeconfig <<Y
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://$NIP:16443", certificate-authority-data: $(b ca.crt)}}]
users: [{name: u, user: {client-certificate-data: $(b $u.crt), client-key-data: $(b $u.key)}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
Y
done
