// Package nft changes a table of nf_tables: commands are put into a [Batch], which the
// kernel takes as a whole or not at all, and packets see the table either before or
// after it.
//
// The expressions of rules are those of google/nftables. Its own connection is not
// used for changes: it asks for an answer to each command and for an echo of each rule,
// and the socket runs over with some hundred rules (seen with 200 in version 0.3.0).
// Here the last command alone is answered, and those that are wrong.
package nft
