// Package ncontext is the network context: how a guest reaches the network and is
// reached. Here the mode decides who does the work:
//
//   - host is the host's own network and none a loopback: neither needs anything.
//   - private is a namespace of the guest's own, connected to the host (package
//     ncontext/private).
package ncontext
