// Package layers holds the rules of who may import whom, and the test that keeps them. ARCHITECTURE.md says them in words.
package layers
