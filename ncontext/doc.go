// Package ncontext is the network context: how a guest reaches the network and is
// reached. Here the mode decides who does the work:
//
//   - shared is the host's own network, of which the guest has its addresses and a
//     loopback (package ncontext/shared).
//   - private is a namespace of the guest's own, connected to the host (package
//     ncontext/private).
//   - host is the host's own network and none a loopback: neither needs anything.
//
// The programs that hold shared guests to their addresses stand at the control group
// above those of all guests. So guests of the other modes need a word of theirs as
// well, from the moment on that there are any.
package ncontext
