// Package shape bounds how fast guests send and are sent (network.egress,
// network.ingress), by the kernel's hierarchical token buckets:
//
//	eth0   root 7673: htb default fffe
//	         7673:1     rate of the link
//	           7673:8     guest 8: rate reserved, ceil rate, quantum by share
//	           7673:9     guest 9
//	           7673:fffe  the host, and guests that ask for nothing: share 100
//	vs8    root 7673: htb default 8         what guest 8 is sent, when its link is its own
//	         7673:8     rate ingress.rate
//
// A guest gets what is reserved for it before anybody gets more; what is left, up to
// each one's rate, is given out by shares. Without a rate a guest may take the whole
// link, without a reservation it has its share alone. The buckets learn from the
// device that it is full; where the line is slower than the device (a router behind
// eth0), nothing is full, and shares mean nothing until the link's class is told its
// rate:
//
//	tc class change dev eth0 parent 7673: classid 7673:1 htb rate 100mbit ceil 100mbit
//
// The class of a packet is set by package firewall, by its source address. Shaped are
// the links that a guest's packets can leave by when it is started: those with its
// network and those of routes with a gateway. What guests and the host say to each
// other over lo or guests' links is not egress, uses no line, and is not slowed.
// Guests in the host's network are policed by package firewall for what they are sent,
// since it has arrived already; guests with a link of their own are queued for.
//
// The discipline takes the place of the default one (mq, pfifo_fast, fq_codel), which
// comes back by itself when the last guest that asked is gone. Meanwhile the host's
// own packets pass one queue and its lock. A discipline that somebody has set is not
// replaced: the start is refused.
package shape
