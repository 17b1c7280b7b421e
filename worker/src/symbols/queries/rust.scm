; Definitions
(struct_item name: (type_identifier) @name) @type
(enum_item name: (type_identifier) @name) @type
(union_item name: (type_identifier) @name) @type
(type_item name: (type_identifier) @name) @type
(associated_type name: (type_identifier) @name) @type
(trait_item name: (type_identifier) @name) @interface
(function_item name: (identifier) @name) @function
(function_signature_item name: (identifier) @name) @function
(const_item name: (identifier) @name) @constant
(static_item name: (identifier) @name) @constant
(macro_definition name: (identifier) @name) @macro
(mod_item name: (identifier) @name body: (declaration_list)) @module
(impl_item type: (type_identifier) @name) @implementation
(impl_item type: (generic_type type: (type_identifier) @name)) @implementation
(impl_item type: (scoped_type_identifier name: (type_identifier) @name)) @implementation
(impl_item type: (reference_type type: (type_identifier) @name)) @implementation

; References
(type_identifier) @reference
(call_expression function: (identifier) @reference)
(call_expression function: (field_expression field: (field_identifier) @reference))
(call_expression function: (scoped_identifier name: (identifier) @reference))
(generic_function function: (identifier) @reference)
(generic_function function: (scoped_identifier name: (identifier) @reference))
(generic_function function: (field_expression field: (field_identifier) @reference))
(macro_invocation macro: (identifier) @reference)
(macro_invocation macro: (scoped_identifier name: (identifier) @reference))
(scoped_identifier path: (identifier) @reference)
(arguments (identifier) @reference)
(arguments (scoped_identifier name: (identifier) @reference))
(use_list (identifier) @reference)
(use_declaration argument: (scoped_identifier name: (identifier) @reference))
(use_list (scoped_identifier name: (identifier) @reference))
(use_as_clause path: (scoped_identifier name: (identifier) @reference))
((identifier) @reference (#match? @reference "^[A-Z][A-Z0-9_]+$"))
