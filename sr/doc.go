// Package sr makes, reads back, checks and renders structured reports of an
// adult echocardiogram: template TID 5200 (PS3.16) in Comprehensive or Enhanced
// SR (PS3.3 A.35).
//
// [Build] turns a [Report] into a data set and refuses what would not be a
// valid report; [Parse] reads a data set into a [Document], a tree of content
// items with its measurements; [Check] compares a data set with the template,
// the code tables of this package and the evidence; [Document.WriteText] and
// [Document.WriteHTML] render what is really in the object.
//
// Structure and codes follow PS3.16 TID 5200 to 5203, TID 300, TID 1002, 1004,
// 1204 and 4019, and the context groups named at each table.
package sr
