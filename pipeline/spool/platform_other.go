//go:build !linux

package spool

// startWriteback does nothing where the system has no such hint.
func (in *Incoming) startWriteback() {}

// ordersNames makes no assumption about other systems.
func ordersNames(string) bool { return false }
