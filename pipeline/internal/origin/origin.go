// Package origin says whose attempts count together.
package origin

import "net/netip"

// subscriber is how many bits of an IPv6 address are the network of one subscriber (RFC
// 4291 2.5.4): each host in it may use any of its addresses, another one every time.
const subscriber = 64

// Of is by what attempts from an address, with or without a port, are counted: the
// address itself, of IPv6 the network of one subscriber. What is no address stands for
// itself.
func Of(address string) string {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return address
		}
		addr = at.Addr()
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	network, _ := addr.Prefix(subscriber) // there are as many bits
	return network.String()
}
