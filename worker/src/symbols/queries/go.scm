; Definitions
(function_declaration name: (identifier) @name) @function
(method_declaration name: (field_identifier) @name) @function
(method_elem name: (field_identifier) @name) @function
(type_spec name: (type_identifier) @name type: (interface_type)) @interface
(type_spec name: (type_identifier) @name) @type
(type_alias name: (type_identifier) @name) @type
(source_file (const_declaration (const_spec name: (identifier) @name) @constant))
(source_file (var_declaration (var_spec name: (identifier) @name) @constant))
(source_file (var_declaration (var_spec_list (var_spec name: (identifier) @name) @constant)))

; References
(type_identifier) @reference
(call_expression function: (identifier) @reference)
(call_expression function: (selector_expression field: (field_identifier) @reference))
(call_expression function: (parenthesized_expression (identifier) @reference))
(argument_list (identifier) @reference)
(argument_list (selector_expression field: (field_identifier) @reference))
(selector_expression operand: (identifier) @reference)
